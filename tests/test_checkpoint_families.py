"""The families of checkpoints: what they hold, how their QAT models come back, and a small one made anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinyquant.autograd import Tensor, no_grad
from tinyquant.checkpoints import families
from tinyquant.data import breast_cancer, digits
from tinyquant.nn import read_about
from tinyquant.training import evaluate


@pytest.fixture(scope="module")
def family() -> families.DigitsFamily:
    return families.load_digits_family()


def test_the_digits_family_has_eight_seeds_and_five_networks_each_that_know_the_digits(family: families.DigitsFamily) -> None:
    _, (xt, yt) = digits(0)
    assert len(family.members) == 8
    for member in family.members:
        for model in (member.trained, member.longer, *member.qat.values()):
            assert not model.training and evaluate(model, xt, yt) > 0.94
    weights = [member.trained.state_dict()["fc1.weight"] for member in family.members]
    assert len({w.tobytes() for w in weights}) == 8


def test_a_qat_model_comes_back_with_the_ranges_of_its_float_model_and_weights_of_its_own(family: families.DigitsFamily) -> None:
    member = family.members[0]
    for bits, qat in member.qat.items():
        ptq = member.ptq(bits)
        assert qat.qparams == ptq.qparams and qat.scheme.weight_bits == bits
        assert not np.array_equal(qat.nodes["fc1"].params()["weight"].data, ptq.nodes["fc1"].params()["weight"].data)


def test_the_recording_starts_at_ptq_ends_at_the_qat_model_and_has_its_accuracy(family: families.DigitsFamily) -> None:
    recording, member = family.recording, family.members[0]
    _, (xt, yt) = digits(0)
    assert recording.codes.dtype == np.int8
    assert recording.codes.shape == (len(recording.qat_loss) + 1, member.trained.state_dict()["fc1.weight"].size)
    np.testing.assert_array_equal(recording.codes[0], families._codes(member.ptq(recording.bits)))
    np.testing.assert_array_equal(recording.codes[-1], families._codes(member.qat[recording.bits]))
    assert recording.qat_accuracy[-1] == evaluate(member.qat[recording.bits], xt, yt)
    assert recording.float_accuracy[-1] == evaluate(member.trained, xt, yt)


def test_the_doctors_find_most_cancers() -> None:
    _, (xt, yt) = breast_cancer()
    doctors = families.load_cancer_family()
    assert len(doctors) == 12
    with no_grad():
        for doctor in doctors:
            said = doctor(Tensor(xt)).data.argmax(axis=1)
            assert np.mean(said[yt == 1]) > 0.8 and not doctor.training


def test_a_family_made_anew_loads_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seeds and a few epochs: the recording's shapes follow."""
    for name, value in (("DIGITS_SEEDS", 2), ("CANCER_SEEDS", 1), ("EPOCHS", 2), ("EXTRA_EPOCHS", 1)):
        monkeypatch.setattr(families, name, value)
    said: list[str] = []
    families.make_families(tmp_path, said.append)
    assert len(said) == 3 and sorted(p.name for p in tmp_path.iterdir()) == ["cancer_family.npz", "digits_family.npz"]
    made = families.load_digits_family(tmp_path)
    assert len(made.members) == 2 and made.recording.codes.shape[0] == 2 and len(made.recording.float_loss) == 2
    assert len(families.load_cancer_family(tmp_path)) == 1
    assert read_about(tmp_path / "digits_family.npz")["command"] == families.COMMAND
    with pytest.raises(ValueError, match=r"digits_family\.npz"):
        monkeypatch.setattr(families, "DIGITS_SEEDS", 3)
        families.load_digits_family(tmp_path)
