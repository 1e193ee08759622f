"""Units that differ from their definition, or learn nothing."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import ndtr

from fastbp import Activation, Adam, Dense, MLPRegressor, Network


def test_step_units(rng):
    """1 above 0, 0 up to it; what lies below learns nothing, what lies above does."""
    net = Network([Dense(2, "step"), Dense(1)], n_inputs=1, random_state=0)
    net.parameters[:] = [1, -1, 0, 0, 1, 10, 0.5]
    assert_array_equal(net.predict([[-3], [0], [2]]).ravel(), [10.5, 0.5, 1.5])
    assert_array_equal(net.value_and_gradient([[-3], [2]], [0, 0])[1], [0, 0, 0, 0, 0.75, 5.25, 6])


@pytest.mark.parametrize(("unit", "f"), [
    ("mish", lambda z: z * np.tanh(np.logaddexp(0, z))),
    ("relu2", lambda z: np.maximum(0, z) ** 2),
    ("hard_sigmoid", lambda z: np.clip(z / 6 + 0.5, 0, 1)),
    ("hard_swish", lambda z: z * np.clip(z / 6 + 0.5, 0, 1)),
])  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_units_are_what_they_are_called(unit, f, dtype):
    """With their limits; the estimators know them."""
    z = np.array([-np.inf, -1e4, -50, -3, -1.2, -0.3, 0, 0.3, 2, 3, 4, 50, 1e4, np.inf])[:, None]
    limits = [0, 1 if unit == "hard_sigmoid" else np.inf]
    a = Network([Activation(unit), Dense(1)], n_inputs=1, dtype=dtype).activations(z)["0"].a
    assert_allclose(a[1:-1], f(z[1:-1]), rtol=1e-5 if dtype == "float32" else 1e-12, atol=1e-15)
    assert_array_equal(a[[0, -1]].ravel(), limits)
    X, y = z[2:-2], np.tanh(z[2:-2].ravel())
    reg = MLPRegressor(hidden_layer_sizes=20, activation=unit, solver="lbfgs", max_iter=500, random_state=0)
    assert reg.fit(X, y).score(X, y) > 0.8


@pytest.mark.parametrize(("unit", "f"), [("sin", np.sin), ("cos", np.cos)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sine_and_cosine(rng, unit, f, dtype):
    """However large z is; and a network of them learns what repeats itself."""
    z = np.array([-1e9, -4097.5, -300, -1.2, 0, 0.3, 50, 4097.5, 1e9, 1e30], dtype)[:, None]
    a = Network([Activation(unit), Dense(1)], n_inputs=1, dtype=dtype).activations(z)["0"].a
    assert_allclose(a, f(z.astype(float)), rtol=1e-6 if dtype == "float32" else 1e-15)
    assert np.isnan(Network([Activation(unit), Dense(1)], n_inputs=1).activations([[np.inf]])["0"].a).all()
    x = rng.uniform(-3, 3, (400, 1)).astype(dtype)
    net = Network([Dense(64, unit), Dense(1)], n_inputs=1, dtype=dtype, random_state=0)
    net.weights[0][:] *= 40
    assert net.fit(x, np.sin(9 * x), optimizer=Adam(0.01), epochs=40).loss[-1] < 0.01


def test_gelu_is_close_to_its_definition():
    z = np.linspace(-10, 10, 1001)[:, None]
    net = Network([Dense(1, "gelu")], n_inputs=1)
    net.parameters[:] = 1, 0
    assert np.abs(net.predict(z) - z * ndtr(z)).max() < 5e-4
