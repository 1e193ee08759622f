"""z and a of every layer."""

import copy
import pickle

import numpy as np
import pytest
from graph_cases import N_INPUTS, NETWORKS, network
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.special import softmax

from fastbp import RBF, Activation, Dense, Dropout, HistogramLoss, LeakyReLU, Network, Parallel, Residual


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_chain(rng, dtype):
    """z and a are those of the definition, and a to the bit what a network of these layers alone predicts."""
    layers = [Dense(9, "tanh", dropout=0.5), Dense(7, "softmax"), Dense(6, LeakyReLU(0.3)), RBF(5), Dense(2)]
    net = Network(layers, n_inputs=N_INPUTS, random_state=0, dtype=dtype)
    H = X = rng.normal(size=(60, N_INPUTS)).astype(dtype)
    found = net.activations(X)
    assert list(found) == ["0", "1", "2", "3", "4"]
    units = np.tanh, lambda z: softmax(z, axis=1), lambda z: np.where(z > 0, z, 0.3 * z), np.exp, lambda z: z
    for i, (W, b, f) in enumerate(zip(net.weights, net.biases, units, strict=True)):
        z = H @ W + b if i != 3 else -np.exp(b) * ((H[:, :, None] - W) ** 2).sum(1)
        tolerance = 1e-5 if dtype == "float32" else 1e-12
        assert_allclose(found[str(i)].z, z, tolerance, tolerance)
        assert_allclose(found[str(i)].a, f(z), tolerance, tolerance)
        part = Network(layers[: i + 1] if i else [Dense(9, "tanh")], n_inputs=N_INPUTS, dtype=dtype)
        part.parameters[:] = net.parameters[: part.parameters.size]
        assert_array_equal(found[str(i)].a, part.predict(X))
        assert all(array.flags.c_contiguous and array.dtype == dtype for array in found[str(i)])
        H = found[str(i)].a
    assert found["4"].z is found["4"].a


@pytest.mark.parametrize("name", NETWORKS)
def test_all_layers(rng, name):
    """Each layer makes of what it takes what a network of it alone would."""
    net, X = network(NETWORKS[name]), rng.normal(size=(50, N_INPUTS))
    found, graph = net.activations(X), net._model.graph
    assert list(found) == [value.name for value in graph.values[1:]]
    H = {0: X} | {i: found[value.name].a for i, value in enumerate(graph.values) if i}
    for i, value in enumerate(graph.values[1:], 1):
        z = np.zeros_like(found[value.name].z)
        for op in graph.forward:
            W, b = net._model.sets(net.parameters)[op.weights]
            if op.output == i and op.kind in ("dense", "transposed"):
                z = H[op.input] @ (W if op.kind == "dense" else W.T)
                z = z + net._model.sets(net.parameters)[op.bias][1] if op.bias >= 0 else z
            elif op.output == i and op.kind == "rbf":
                z = -np.exp(b) * ((H[op.input][:, :, None] - W) ** 2).sum(1)
            elif op.output == i and op.kind == "sparse":
                columns = graph.weights[op.weights].connections.columns.array
                z = np.einsum("nkj,kj->nj", H[op.input][:, columns], W) + (b if op.bias >= 0 else 0)
            elif op.output == i and op.kind == "scale":
                z = H[op.input] * W + (b if op.bias >= 0 else 0)
            elif op.output == i and op.kind == "group_norm":
                groups = H[op.input].reshape(50, op.n_groups, -1)
                z = (groups - groups.mean(2, keepdims=True)) / np.sqrt(groups.var(2, keepdims=True) + op.epsilon)
                z = z.reshape(50, -1)
            elif op.output == i and op.kind == "prelu":
                z = np.where(H[op.input] > 0, H[op.input], H[op.input] * W)
            elif op.output == i and op.kind != "unit":
                z[:, op.column : op.column + op.n] += H[op.input][:, op.source : op.source + op.n]
        assert_allclose(found[value.name].z, z, rtol=1e-9, atol=1e-12)
        if value.unit in ("identity", "tanh", "rbf"):
            a = {"identity": z, "tanh": np.tanh(z), "rbf": np.exp(z)}[value.unit]
            assert_allclose(found[value.name].a, a, rtol=1e-9, atol=1e-12)
    assert_array_equal(found[graph.values[graph.outputs[None]].name].a, net.predict(X))


def test_output_units_of_losses(rng):
    heads = Parallel({"p": [Dense(1)], "k": [Dense(4)], "c": [Dense(2)], "y": [Dense(3, "tanh")], "h": [Dense(2)]})
    loss = {
        "p": "poisson", "k": "softmax_cross_entropy", "c": "cross_entropy", "y": "huber", "h": HistogramLoss([0, 1, 2])
    }  # fmt: skip
    net = network([Dense(6, "tanh"), heads], loss=loss)
    X = rng.normal(size=(20, N_INPUTS))
    found, a, z = net.activations(X), net.predict(X), net.forward(X)
    assert list(found) == ["0", "1.p.0", "1.k.0", "1.c.0", "1.y.0", "1.h.0"]
    for name in "pkcy":
        assert_array_equal(found[f"1.{name}.0"].a, a[name])
    for name in "pkch":
        assert_array_equal(found[f"1.{name}.0"].z, z[name])
    assert_allclose(found["1.h.0"].a, softmax(z["h"], axis=1))


def test_small_activations_of_radial_units():
    """z is there where a is 0."""
    net = network([RBF(3)])
    z, a = net.activations(np.full((1, N_INPUTS), 1000.0))["0"]
    assert (a == 0).all() and (z < -1000).all() and np.isfinite(z).all()


def test_input_and_threads(rng):
    block = Residual([Dense(150, "tanh"), Dropout(0.5), Dense(200)])
    layers = [Dense(200, "relu"), block, Activation("gelu"), Dense(60)]
    net = Network(layers, n_inputs=300, random_state=0, dtype="float32")
    X = rng.integers(0, 3, (300, 300)).astype(np.uint8)
    expected = net.activations(X.astype("f4"), n_threads=1)
    for n_threads in (1, 2, 3):
        for kind in (X, sparse.csr_array(X), np.asfortranarray(X.astype(float))):
            found = net.activations(kind, n_threads=n_threads)
            for name, arrays in expected.items():
                for a, b in zip(arrays, found[name], strict=True):
                    assert_array_equal(a, b)
    assert [a.shape for a in net.activations(X[:0])["1.0"]] == [(0, 150)] * 2
    with pytest.raises(ValueError, match="X must have shape"):
        net.activations(X[:, 1:])


def test_they_follow_the_parameters(rng):
    """The program is made once, and copies and pickles don't depend on it."""
    net, X = network([Dense(4, "tanh"), Dense(2)]), rng.normal(size=(9, N_INPUTS))
    before = net.activations(X)
    again, copied = pickle.loads(pickle.dumps(net)), copy.deepcopy(net)
    net.parameters[:] *= 2
    assert_allclose(net.activations(X)["0"].z, 2 * before["0"].z)
    assert_array_equal(net.activations(X)["1"].a, net.predict(X))
    for one in (again, copied):
        assert_array_equal(one.activations(X)["0"].z, before["0"].z)
