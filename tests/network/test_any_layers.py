"""Networks of any layers, drawn at random: the core does what the twins in plain NumPy do, with the same bits for any
number of threads."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from fastbp import (
    RBF,
    Activation,
    Adam,
    BatchNorm,
    Checkpoint,
    Dense,
    Dropout,
    Embed,
    GroupNorm,
    LayerNorm,
    LowRank,
    Network,
    Parallel,
    Periodic,
    PiecewiseLinear,
    PReLU,
    Residual,
    Scale,
    Shared,
    Sparse,
    SpectralNorm,
    Standardize,
    WeightNorm,
)
from fastbp.graph import backward_of
from fastbp.graph.reference import run

UNITS = (
    "identity", "tanh", "logistic", "relu", "gelu", "softmax", "elu", "mish", "relu2", "hard_swish", "hard_sigmoid",
    "sin", "cos",
)  # fmt: skip
SMOOTH = "identity", "tanh", "logistic", "softplus", "gelu", "softmax", "silu", "mish", "relu2", "sin"
SIZES = 1, 2, 3, 7, 15, 16, 17, 33, 64, 130, 150  # around widths of vectors; large ones are shared by columns


class Draw:
    """Draws layers that fit together; `shared` are those that may come again, with their columns and units."""

    def __init__(self, draw, units=UNITS, sizes=SIZES):
        self.draw, self.units, self.sizes, self.shared = draw, units, sizes, []

    def one(self, of):
        return self.draw(st.sampled_from(of))

    def layers(self, n, depth, least=1, most=3):
        """Layers one after the other, and the number of units of the last."""
        layers = []
        for _ in range(self.draw(st.integers(least, most))):
            layer, n = self.layer(n, depth)
            layers.append(layer)
        return layers, n

    def dense(self, n_units):
        return Dense(n_units, self.one(self.units), dropout=self.one([0, 0, 0.3]))

    def layer(self, n, depth):
        kinds = [
            "dense", "dense", "dense", "low rank", "masked", "sparse", "sparse", "rbf", "scale", "activation",
            "dropout", "shared", "batch norm", "group norm", "layer norm", "weight norm", "spectral norm", "checkpoint",
            "periodic",
        ]  # fmt: skip
        kinds += ["prelu"] * (self.units is UNITS)  # which has a kink
        kinds += ["again"] * any(n == n_in for _, n_in, _ in self.shared)
        kinds += ["transposed"] * any(n == n_out for _, _, n_out in self.shared)
        kinds += ["residual", "residual", "projection", "concatenate", "add"] * (depth > 0)
        kind, n_units = self.one(kinds), self.one(self.sizes)
        if kind == "dense":
            return self.dense(n_units), n_units
        if kind == "batch norm":
            return BatchNorm(epsilon=0.1), n
        if kind == "group norm":
            return GroupNorm(self.one([k for k in (1, 2, 3, 5) if n % k == 0]), epsilon=0.1), n
        if kind == "layer norm":
            return LayerNorm(epsilon=0.1, affine=self.one([True, False])), n
        if kind == "weight norm":
            sparse_layer = Sparse(n_units, min(n, 3), self.one(self.units))
            return WeightNorm(self.one([self.dense(n_units), sparse_layer])), n_units
        if kind == "spectral norm":
            return SpectralNorm(self.dense(n_units), self.one([1, 2])), n_units
        if kind == "checkpoint":
            layers, n = self.layers(n, 0)
            return Checkpoint(layers), n
        if kind == "low rank":
            return LowRank(n_units, self.one([1, 3, 16]), self.one(self.units)), n_units
        if kind == "masked":
            mask = np.random.default_rng(n).random((n, n_units)) < 0.5
            return Dense(n_units, self.one(self.units), max_norm=self.one([None, 0.5]), mask=mask), n_units
        if kind == "sparse":
            fan_in = min(n, self.one([1, 3, 10]))
            return Sparse(n_units, fan_in, self.one(self.units), dropout=self.one([0, 0.3])), n_units
        if kind == "periodic":
            columns = range(min(n, 20))
            layer = Periodic(self.one([1, 3, 16]), 0.1, self.one([1, 3, 16]), self.one(self.units), columns)
            return layer, n + len(columns) * (layer.dim - 1)
        if kind == "rbf":
            return RBF(n_units), n_units
        if kind == "scale":
            return Scale(bias=self.one([True, False])), n
        if kind == "prelu":
            return PReLU(), n
        if kind == "activation":
            return Activation(self.one(self.units)), n
        if kind == "dropout":
            return Dropout(0.2), n
        if kind == "shared":
            layer = Shared(self.dense(n_units))
            self.shared.append((layer, n, n_units))
            return layer, n_units
        if kind == "again":
            layer, _, n_units = self.one([item for item in self.shared if item[1] == n])
            return layer, n_units
        if kind == "transposed":
            layer, n_in, _ = self.one([item for item in self.shared if item[2] == n])
            return layer.transposed(self.one(self.units)), n_in
        if kind == "residual":
            return Residual([*self.layers(n, depth - 1, 0, 2)[0], self.dense(n)]), n
        if kind == "projection":
            layers, n_units = self.layers(n, depth - 1)
            return Residual(layers, projection="linear"), n_units
        if kind == "add":
            branches = [[*self.layers(n, depth - 1, 0, 1)[0], self.dense(n_units)] for _ in range(2)]
            return Parallel(branches, combine="add"), n_units
        branches, sizes = zip(*(self.layers(n, depth - 1, 0, 2) for _ in range(self.one([2, 3]))), strict=True)
        return Parallel(branches), sum(sizes)


@st.composite
def networks(draw, units=UNITS, sizes=SIZES):
    """Layers, number of inputs, and the loss: of one output, or of two heads."""
    drawing, n_inputs = Draw(draw, units, sizes), draw(st.sampled_from(sizes))
    first, n = [Standardize()] * drawing.one([0, 0, 1]), n_inputs
    if not first and drawing.one([False, False, True]):
        columns = draw(st.sets(st.integers(0, n_inputs - 1), min_size=1, max_size=3))
        first = [Embed({j: drawing.one([1, 3, 300]) for j in columns}, dim=drawing.one(sizes))]
        n += len(columns) * (first[0].dim - 1)
    if n_inputs > 3 and Standardize() not in first and drawing.one([False, False, True]):  # Embed passes one column on
        first.append(PiecewiseLinear(drawing.one([1, 3, 16, 40]), drawing.one([1, 3, 16]), drawing.one(units), [0]))
        n += first[-1].dim - 1
    layers, _ = drawing.layers(n, 2, 0, 4)
    layers = first + layers
    if draw(st.booleans()):
        return [*layers, Dense(draw(st.sampled_from([1, 2, 20])))], n_inputs, "huber", None
    heads = {"a": [Dense(3)], "b": [drawing.dense(17), Dense(2)]}
    return [*layers, Parallel(heads)], n_inputs, {"a": "poisson", "b": "softmax_cross_entropy"}, {"a": 0.5}


def problem(drawn, n, dtype, seed, zeros=False):
    """A network with parameters and statistics like those after some training, X, weights of samples, and targets."""
    layers, n_inputs, loss, loss_weights = drawn
    rng = np.random.default_rng(seed)
    net = Network(layers, n_inputs=n_inputs, loss=loss, loss_weights=loss_weights, dtype=dtype, random_state=seed)
    net.parameters[:] += 0.1 * rng.normal(size=net.parameters.size)
    net._model.apply_masks(net.parameters)
    for name, values in net.layer_state.items():
        if name.endswith(".variance") and not (name[:2] == "0." and isinstance(layers[0], Standardize)):
            values[:] = rng.uniform(0.5, 2, values.shape)
            net.layer_state[name.replace("variance", "mean")][:] = rng.normal(size=values.shape)
    X = rng.normal(size=(n, n_inputs)).astype(dtype)
    X *= rng.random(X.shape) < (0.1 if zeros else 1)
    for column, n_categories in net._model.categories.items():
        X[:, column] = rng.integers(0, n_categories, n)
    y = [rng.random((n, output.n)) for output in net._model.outputs]
    if loss_weights:
        y = {name: part / part.sum(1, keepdims=True) for name, part in zip("ab", y, strict=True)}
    else:
        y = y[0] + 3  # away from the outputs: differences that cancel would be inexact
    return net, X, rng.integers(1, 4, n).astype(float), y


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    drawn=networks(), n=st.sampled_from([1, 5, 47, 64, 150, 300]), dtype=st.sampled_from(["float32", "float64"]),
    zeros=st.booleans(), kind=st.sampled_from([np.asarray, np.asfortranarray, sparse.csr_array]),
    batch_statistics=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_the_core_does_what_the_twins_do(drawn, n, dtype, zeros, kind, batch_statistics, seed):
    layers, n_inputs, loss, loss_weights = drawn
    single = dtype == "float32"
    net, X, weight, y = problem(drawn, n, dtype, seed, zeros)
    model = net._model
    if kind is sparse.csr_array and model.graph.needs_dense_inputs is not None:
        with pytest.raises(ValueError, match="X must be dense for a first layer"):
            net.predict(kind(X))
        return
    targets, costs = list(y.values()) if loss_weights else [y], [output.cost for output in model.outputs]
    arguments = model.graph, backward_of(model.graph), net.parameters.astype(float), X.astype(float), targets, costs
    outputs = run(*arguments, weight, model.layer_state)[0]
    of_batch, cost, gradient = run(*arguments, weight, model.layer_state, batch_statistics)
    assume(all(np.abs(a).max() < 30 for a in (*outputs, *of_batch)))  # exp of them is a number in single precision too
    model.apply_masks(gradient)
    results = []
    for n_threads in (1, 2, 3):
        parts = net.value_and_gradient(kind(X), y, weight, n_threads=n_threads, batch_statistics=batch_statistics)
        a = net.forward(kind(X), n_threads=n_threads)
        dz = {name: np.ones_like(part) for name, part in a.items()} if loss_weights else np.ones_like(a)
        back = net.backward(dz, n_threads=n_threads)
        one = Network(
            layers, n_inputs=n_inputs, loss=loss, loss_weights=loss_weights, dtype=dtype, random_state=seed, l2=0.1
        )
        one.fit(kind(X), y, optimizer=Adam(), epochs=2, batch_size=64, n_threads=n_threads)
        learnt = one.parameters.copy()
        one._model.apply_masks(learnt)
        assert_array_equal(learnt, one.parameters)
        a = list(a.values()) if loss_weights else [a]
        predicted = net.predict(kind(X), n_threads=n_threads)
        results.append([*parts, *a, *back, one.parameters, *(predicted.values() if loss_weights else [predicted])])
        results[-1] += one.layer_state.values()
    for other in results[1:]:
        for found, expected in zip(other, results[0], strict=True):
            assert_array_equal(found, expected)
    found = results[0]
    assert_allclose(found[0], cost, rtol=1e-4 if single else 1e-10)
    scale = max(np.linalg.norm(gradient), 1e-2)
    assert np.linalg.norm(found[1] - gradient) < (1e-3 if single else 1e-9) * scale
    for a, expected in zip(found[2:], outputs, strict=False):
        assert_allclose(a, expected, 1e-3 if single else 1e-9, 1e-4 if single else 1e-11)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    drawn=networks(SMOOTH, (1, 2, 3, 7, 16)), n=st.sampled_from([5, 17]), batch_statistics=st.booleans(),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_gradients_and_hessian_products_are_differences(drawn, n, batch_statistics, seed):
    net, X, weight, y = problem(drawn, n, "float64", seed)
    model, outputs = net._model, net.forward(X)
    outputs = outputs.values() if isinstance(outputs, dict) else [outputs]
    assume(all(np.abs(a).max() < 10 for a in outputs))  # of exp differences are inexact

    def at(w):
        net.parameters[:] = w
        cost, gradient = net.value_and_gradient(X, y, weight, batch_statistics=batch_statistics)
        model.apply_masks(gradient)
        return cost, gradient

    w = net.parameters.copy()
    _, gradient = at(w)
    for direction in (gradient, np.random.default_rng(seed).normal(size=w.size)):
        direction = direction / max(np.linalg.norm(direction), 1e-300)
        model.apply_masks(direction)
        product = net.hessian_vector_product(X, y, direction, weight, batch_statistics=batch_statistics)
        model.apply_masks(product)
        costs, gradients = [], []
        for h in (1e-5, 5e-6):
            (above, gradient_above), (below, gradient_below) = at(w + h * direction), at(w - h * direction)
            costs.append((above - below) / (2 * h))
            gradients.append((gradient_above - gradient_below) / (2 * h))
        at(w)
        cost, difference = ((4 * fine - coarse) / 3 for coarse, fine in (costs, gradients))  # without their h^2
        size = max(np.linalg.norm(gradient), 1e-3)
        near = np.linalg.norm(gradients[0] - gradients[1]) < 1e-4 * max(np.linalg.norm(product), size)
        assume(near and abs(costs[0] - costs[1]) < 1e-4 * size)  # else the steps are too long for what bends so much
        assert abs(cost - gradient @ direction) < 1e-6 * size
        assert np.linalg.norm(difference - product) < 1e-6 * max(np.linalg.norm(product), size)
