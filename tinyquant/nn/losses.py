"""How wrong an answer is, as one number to make small.

With this module one can train classifiers (cross-entropy) and curves (mean square); the operations of
`tinyquant.autograd` with the same names hold the formulas.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tinyquant import autograd as F
from tinyquant.autograd import Tensor


class CrossEntropyLoss:
    """Mean over the batch of -log(softmax(logits)[label]).

    Parameters
    ----------
    weights : (classes,) array or None
        How much an example of each class counts; raise a rare class here.
    label_smoothing : float in [0, 1)
        Share of the target that is spread over all classes.

    Examples
    --------
    >>> round(CrossEntropyLoss()(Tensor([[0.0, 0.0]]), np.array([1])).item(), 4)
    0.6931
    """

    def __init__(self, weights: npt.ArrayLike | None = None, label_smoothing: float = 0.0) -> None:
        self.weights = None if weights is None else np.asarray(weights, dtype=np.float32)
        self.label_smoothing = label_smoothing

    def __call__(self, logits: Tensor, labels: np.ndarray) -> Tensor:
        """The loss of logits (N, classes) for int labels (N,)."""
        return F.cross_entropy(logits, labels, weights=self.weights, label_smoothing=self.label_smoothing)


class MSELoss:
    """Mean over all elements of (prediction - target)^2.

    Examples
    --------
    >>> MSELoss()(Tensor([1.0, 3.0]), np.array([1.0, 1.0], np.float32)).item()
    2.0
    """

    def __call__(self, prediction: Tensor, target: np.ndarray) -> Tensor:
        """The loss of two arrays of one shape."""
        return F.mse_loss(prediction, target)
