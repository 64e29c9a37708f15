"""A seed is a promise: the same numbers again, and never numbers without one."""

import numpy as np
import pytest

from tinyquant.numerics.seeds import generator


def test_the_same_seed_starts_the_same_stream_as_numpys_own():
    assert generator(7).random(5).tolist() == np.random.default_rng(7).random(5).tolist()
    assert generator(np.int64(7)).random() == generator(7).random() != generator(8).random()


def test_a_generator_is_used_and_moved_on_not_copied():
    rng = np.random.default_rng(0)
    assert generator(rng) is rng
    assert generator(rng).random() != generator(rng).random()


@pytest.mark.parametrize("seed", [None, 1.5, True, "0"])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(TypeError, match=r"seed must be an int or a numpy Generator, got"):
        generator(seed)


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match=r"seed must be 0 or more, got -1"):
        generator(-1)
