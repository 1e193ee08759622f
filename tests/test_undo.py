"""The way back of random numbers."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastbp.undo import Undo


@pytest.mark.parametrize("generator", [np.random.MT19937, np.random.PCG64])
@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize("before", [0, 1, 623, 624, 1000])
def test_draws_are_put_back(generator, uniform, before):
    random_state = np.random.RandomState(generator(3))
    random_state.randint(5, size=before)
    if not uniform:
        random_state.normal()  # one more is kept in reserve
    undo = Undo()
    undo.save_draws(random_state, uniform=uniform)
    first = random_state.permutation(1000), random_state.randint(2**32, size=3, dtype=np.uint32)
    if not uniform:
        first += (random_state.normal(size=3),)
    undo.put_back()
    again = random_state.permutation(1000), random_state.randint(2**32, size=3, dtype=np.uint32)
    if not uniform:
        again += (random_state.normal(size=3),)
    for a, b in zip(first, again, strict=True):
        assert_array_equal(a, b)
