"""Learning from the float network: the quantized student is shown what its teacher answers, not only what is right.

    loss = w * T^2 * mean KL(softmax(t / T) || softmax(s / T)) + (1 - w) * cross_entropy(s, label)

with t the teacher's logits, s the student's. A label says "3"; the teacher says "3, and if not, then 8": that is more
to learn from an image. The temperature T brings such small probabilities out, and T^2 undoes what it does to the size
of the gradient.

With this module one can train with `fit` towards a teacher's answers (`Distillation`).
"""

from __future__ import annotations

import numpy as np

from tinyquant import autograd as F
from tinyquant.autograd import Tensor
from tinyquant.training import Model, predict

__all__ = ["Distillation"]


class Distillation:
    """A loss for `fit`, and the targets it is computed from.

    Parameters
    ----------
    teacher : Module, or callable (array) -> logits (N, classes)
        The float model; never trained here.
    temperature : float above 0
    weight : float in [0, 1]
        Of the teacher; the rest is that of the labels.

    Raises
    ------
    ValueError
        A temperature or weight out of range.

    Notes
    -----
    The teacher answers once, for the images as they are: with ``augment="shift"`` its answers are those of the images
    not shifted. `fit` shows no accuracy for such targets; `evaluate` does.

    References
    ----------
    Hinton, Vinyals and Dean 2015, section 2; for quantized students Mishra and Marr 2018 (Apprentice).

    Examples
    --------
    >>> from tinyquant.nn import Linear
    >>> from tinyquant.training import fit
    >>> x, y = np.array([[-1.0], [1.0]] * 4, np.float32), np.array([0, 1] * 4)
    >>> lesson = Distillation(lambda x: np.concatenate([-x, x], axis=1), temperature=2.0)
    >>> history = fit(Linear(1, 2), x, lesson.targets(x, y), loss=lesson, epochs=2)
    >>> len(history.loss)
    2
    """

    def __init__(self, teacher: Model, *, temperature: float = 4.0, weight: float = 0.9) -> None:
        if not 0 < temperature < np.inf:
            raise ValueError(f"temperature must be a finite number above 0, got {temperature}. 4 is usual.")
        if not 0 <= weight <= 1:
            raise ValueError(f"weight must be in [0, 1], got {weight}. 0.9 listens mostly to the teacher.")
        self.teacher = teacher
        self.temperature = float(temperature)
        self.weight = float(weight)

    def targets(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The teacher's logits and, in the last column, the label: what `fit` takes as y.

        Parameters
        ----------
        x : float array, (N, ...)
        y : int array, (N,)

        Returns
        -------
        float32 array, (N, classes + 1)

        Raises
        ------
        ValueError
            y has another length, a label has no logit, or the teacher does not return (N, classes).
        """
        logits, labels = predict(self.teacher, x), np.asarray(y)
        if logits.ndim != 2 or labels.shape != logits.shape[:1]:
            raise ValueError(
                f"the teacher must give (N, classes) for labels (N,), got {logits.shape} for {labels.shape}. "
                "Pass the x and y that belong together."
            )
        if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= logits.shape[1]:
            raise ValueError(
                f"labels must be whole numbers from 0 to {logits.shape[1] - 1}, got {labels.dtype} from {labels.min()} to "
                f"{labels.max()}. The teacher must know every class."
            )
        return np.column_stack([logits, labels]).astype(np.float32)

    def __call__(self, outputs: Tensor, targets: np.ndarray) -> Tensor:
        """The loss of logits (N, classes) for rows of `targets`."""
        if targets.ndim != 2 or outputs.ndim != 2 or targets.shape[1] != outputs.shape[1] + 1:
            raise ValueError(
                f"targets must be (N, classes + 1) for outputs (N, classes), got {targets.shape} for {outputs.shape}. "
                "Make them with targets(x, y)."
            )
        t = self.temperature
        soft = Tensor(np.asarray(targets[:, :-1] / t, outputs.dtype))
        wanted = F.softmax(soft).data
        distance = Tensor(wanted) * (Tensor(F.log_softmax(soft).data) - F.log_softmax(outputs * (1 / t)))
        taught = F.sum(distance) * (self.weight * t * t / len(targets))
        told = F.cross_entropy(outputs, targets[:, -1].astype(np.int64))
        return taught + told * (1 - self.weight)
