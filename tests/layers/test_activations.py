"""Units that differ from their definition, or learn nothing."""

import numpy as np
from numpy.testing import assert_array_equal
from scipy.special import ndtr

from fastbp import Dense, Network


def test_step_units(rng):
    """1 above 0, 0 up to it; what lies below learns nothing, what lies above does."""
    net = Network([Dense(2, "step"), Dense(1)], n_inputs=1, random_state=0)
    net.parameters[:] = [1, -1, 0, 0, 1, 10, 0.5]
    assert_array_equal(net.predict([[-3], [0], [2]]).ravel(), [10.5, 0.5, 1.5])
    assert_array_equal(net.value_and_gradient([[-3], [2]], [0, 0])[1], [0, 0, 0, 0, 0.75, 5.25, 6])


def test_gelu_is_close_to_its_definition():
    z = np.linspace(-10, 10, 1001)[:, None]
    net = Network([Dense(1, "gelu")], n_inputs=1)
    net.parameters[:] = 1, 0
    assert np.abs(net.predict(z) - z * ndtr(z)).max() < 5e-4
