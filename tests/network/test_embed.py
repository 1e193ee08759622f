"""Networks that begin with `Embed`: numbers, training, what is in X."""

import copy
import io
import pickle

import numpy as np
import pytest
from network_cases import FULL_BATCH, OPTIMIZERS, central_differences, check_hessian, relative_error
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.linalg import block_diag

from fastbp import (
    SGD,
    Adam,
    AdamW,
    CosineWarmRestarts,
    Dense,
    Embed,
    ImageAugmentation,
    Network,
    Parallel,
    Residual,
    Shared,
)
from fastbp.graph import backward_of
from fastbp.graph.reference import run

EMBED = Embed({2: 5, 0: 3, 5: 7}, {0: 1, 2: 4, 5: 3}, l2=0.3)
SHARED = Shared(Embed({5: 7, 2: 4}, 2))
NETWORKS = {
    "first": [EMBED, Dense(6, "tanh"), Dense(2)],
    "all columns": [Embed(dict.fromkeys(range(6), 9), 3), Dense(2)],
    "alone": [Parallel([[SHARED], [Embed({0: 3}, 5)]])],
    "branches": [Parallel([[EMBED], [Dense(3, "silu")], [SHARED, Dense(4, "tanh")], [SHARED]]), Residual([Dense(26)])],
    "large": [Embed({0: 3, 2: 600, 5: 70}, {0: 17, 2: 33, 5: 16}), Dense(300, "relu"), Dense(140, "tanh"), Dense(3)],
}


def data(rng, net, n=40, dtype=float):
    X = rng.normal(size=(n, 6))
    for column, n_categories in net._model.categories.items():
        X[:, column] = rng.integers(0, n_categories, n)
    return X.astype(dtype), rng.random((n, net.forward(X).shape[1]))


def network(layers, seed=0, **settings):
    return Network(layers, n_inputs=6, random_state=seed, **settings)


@pytest.fixture(params=NETWORKS)
def layers(request):
    return NETWORKS[request.param]


# ---- numbers --------------------------------------------------------------------------------------------------------


def test_it_is_the_product_of_a_one_hot_code(rng):
    net, dense = network(NETWORKS["first"]), Network([Dense(11), Dense(6, "tanh"), Dense(2)], n_inputs=3 + 15)
    X, y = data(rng, net)
    codes = [np.eye(n)[X[:, column].astype(int)] for column, n in EMBED.columns.items()]
    wide = np.hstack([X[:, [1, 3, 4]], *codes])
    blocks = block_diag(np.eye(3), *net.weights[:3])
    dense.parameters[:] = np.concatenate([blocks.ravel(), np.zeros(11), net.parameters[-(11 * 6 + 6 + 6 * 2 + 2) :]])
    assert_allclose(net.predict(X), dense.predict(wide), rtol=1e-12)
    (cost, gradient), (expected, wide_gradient) = net.value_and_gradient(X, y), dense.value_and_gradient(wide, y)
    assert_allclose(cost, expected, rtol=1e-12)
    *tables, V, W = net._model.views(gradient)[0]
    first, *others = dense._model.views(wide_gradient)[0]
    for table, rows, columns in zip(tables, ((3, 8), (8, 11), (11, 18)), ((3, 7), (7, 8), (8, 11)), strict=True):
        assert_allclose(table, first[slice(*rows), slice(*columns)], rtol=1e-9, atol=1e-15)
    for ours, its in zip((V, W), others, strict=True):
        assert_allclose(ours, its, rtol=1e-9, atol=1e-15)


def test_gradients_by_central_differences(rng, layers):
    if layers is NETWORKS["large"]:
        layers = [Embed({0: 3, 2: 20, 5: 7}, {0: 9, 2: 3, 5: 16}), Dense(9, "tanh"), Dense(3)]
    net = network(layers, l1=0.01, l2=0.1)
    X, y = data(rng, net, 11)
    weight = rng.random(len(X))
    _, gradient = net.value_and_gradient(X, y, weight, penalty=True)
    numeric = central_differences(lambda: net.value_and_gradient(X, y, weight, penalty=True)[0], net.parameters)
    assert relative_error(gradient, numeric) < 1e-6
    check_hessian(rng, net, X, y, weight)
    a = net.forward(X)
    dz = rng.normal(size=a.shape)
    gradient, inputs = net.backward(dz)
    numeric = central_differences(lambda: (net.predict(X) * dz).sum(), net.parameters)
    assert relative_error(gradient, numeric) < 1e-6
    numbers = [j for j in range(6) if j not in net._model.categories]
    if not isinstance(layers[0], Parallel):  # where other layers may read them too
        assert not inputs[:, list(net._model.categories)].any()
    for j in numbers:
        dx = np.zeros_like(X)
        dx[:, j] = 1e-6
        slopes = ((net.predict(X + dx) - net.predict(X - dx)) * dz).sum(1) / 2e-6
        assert_allclose(inputs[:, j], slopes, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 2, 47, 300])
def test_against_the_twins_with_any_number_of_threads(rng, layers, dtype, n):
    net = network(layers, dtype=dtype)
    X, y = data(rng, net, n, dtype)
    graph, weight = net._model.graph, rng.random(n) + 0.5
    costs = [output.cost for output in net._model.outputs]
    outputs, cost, gradient = run(
        graph, backward_of(graph), net.parameters.astype(float), X.astype(float), [y], costs, weight
    )
    results = []
    for n_threads in (1, 2, 3):
        one = network(layers, dtype=dtype, l2=0.1)
        history = one.fit(X, y, optimizer=Adam(), epochs=2, batch_size=64, n_threads=n_threads)
        results.append([*net.value_and_gradient(X, y, weight, n_threads=n_threads), one.parameters, history.loss])
        results[-1] += [net.predict(X, n_threads=n_threads), net.forward(X, n_threads=n_threads)]
        results[-1] += net.backward(y, n_threads=n_threads)
    for other in results[1:]:
        for found, expected in zip(other, results[0], strict=True):
            assert_array_equal(found, expected)
    tolerance = 1e-4 if dtype == "float32" else 1e-11
    assert_allclose(results[0][0], cost, rtol=tolerance)
    assert relative_error(results[0][1], gradient) < tolerance
    for a in results[0][4:6]:
        assert_allclose(a, outputs[0], tolerance, tolerance)


def test_threads_are_used(rng):
    net = network(NETWORKS["large"], dtype="float32")
    X, y = data(rng, net, 2000)
    net.fit(X, y, epochs=2, batch_size=500, n_threads=2)
    assert net._model.engine.n_members == 2
    large = network([Embed({0: 100000}, 1), Dense(1)])  # of which a sample takes one row
    X, y = data(rng, large, 2000)
    large.fit(X, y, batch_size=500, n_threads=2)
    assert large._model.engine.n_members == 1


def test_one_row_does_not_depend_on_the_others(rng, layers):
    for dtype in ("float32", "float64"):
        net = network(layers, dtype=dtype)
        X, _ = data(rng, net, 1100, dtype)
        a = net.predict(X)
        for i in (0, 17, 1099):
            assert_array_equal(net.predict(X[i : i + 1]), a[i : i + 1])
        order = rng.permutation(1100)[:100]
        assert_array_equal(net.predict(X, order=order), a[order])


def test_layers_see_it(rng):
    net = network(NETWORKS["first"])
    X, _ = data(rng, net)
    z, a = net.activations(X)["0"]
    tables = [W[X[:, column].astype(int)] for W, column in zip(net.weights, EMBED.columns, strict=False)]
    assert_array_equal(a, np.hstack([X[:, [1, 3, 4]], *tables]))
    assert z is a
    assert "W1 (3, 1)" in str(net.program("train"))
    lines = [" ".join(str(op).split()) for phase in net.program("predict").phases for op in phase.ops]
    assert lines[:5] == [
        "move X (32, 6)[:, 1:2] -> 0 (32, 11)[:, 0:1]",
        "move X (32, 6)[:, 3:5] -> 0 (32, 11)[:, 1:3]",
        "embed X (32, 6)[:, 2:3] -> 0 (32, 11)[:, 3:7] W0 (5, 4)",
        "embed X (32, 6)[:, 0:1] -> 0 (32, 11)[:, 7:8] W1 (3, 1)",
        "embed X (32, 6)[:, 5:6] -> 0 (32, 11)[:, 8:11] W2 (7, 3)",
    ]


# ---- training -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, SGD(CosineWarmRestarts(0.1, t_0=3))], ids=str)
@pytest.mark.parametrize("batch_size", [1, 3, 16, 50])
def test_updates_are_steps_along_the_gradient(rng, layers, optimizer, batch_size):
    if layers is not NETWORKS["first"] and batch_size < 16:
        return
    net, by_step = (network(layers, l1=0.01, l2=0.1) for _ in range(2))
    X, y = data(rng, net, 50)
    for start in range(0, 50, batch_size):
        part = slice(start, start + batch_size)
        by_step.step(by_step.value_and_gradient(X[part], y[part])[1], optimizer)
    net.fit(X, y, optimizer=optimizer, batch_size=batch_size, shuffle=False)
    assert_allclose(net.parameters, by_step.parameters, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("optimizer", FULL_BATCH, ids=lambda rule: type(rule).__name__)
def test_full_batch_rules(rng, optimizer):
    net = network(NETWORKS["first"])
    X, y = data(rng, net)
    before = net.value_and_gradient(X, y, penalty=True)[0]
    assert net.fit(X, y, optimizer=optimizer, epochs=5).loss[0] == pytest.approx(before)
    assert net.value_and_gradient(X, y, penalty=True)[0] < before


def test_large_batches_in_chunks_and_folds(rng):
    """A sum over many rows of which all have one category is as exact as its terms."""
    for dtype, tolerance in (("float32", 1e-4), ("float64", 1e-11)):
        net = network([Embed({0: 3, 2: 500}, 3), Dense(40, "tanh"), Dense(2)], dtype=dtype)
        X, y = data(rng, net, 20000, dtype)
        X[:, 0] = 1
        whole = net.value_and_gradient(X, y)
        parts = [net.value_and_gradient(X[i : i + 100], y[i : i + 100])[1].astype(float) for i in range(0, 20000, 100)]
        assert relative_error(whole[1], np.mean(parts, axis=0)) < tolerance
        before = net.parameters.copy()
        net.fit(X, y, optimizer=SGD(1.0), batch_size=20000)
        assert relative_error(before - net.parameters, whole[1]) < tolerance


def test_categories_are_learnt(rng):
    """A function of two categories, no sum of functions of each."""
    X = rng.integers(0, 8, size=(2000, 2))
    y = np.where(rng.permutation(64).reshape(8, 8)[X[:, 0], X[:, 1]] < 32, 1.0, -1.0)
    net = Network([Embed({0: 8, 1: 8}, 4), Dense(32, "relu"), Dense(1)], n_inputs=2, random_state=0)
    history = net.fit(X, y, optimizer=Adam(0.02), epochs=40, validation_data=(X, y), early_stopping=20)
    assert history.loss[-1] < 0.02 < 0.2 < history.loss[0]
    assert net.value_and_gradient(X, y)[0] == min(history.validation_loss)


def test_penalties_are_the_layers(rng):
    net = network([Embed({0: 3}, 2, l1=0.1, l2=0.5), Dense(1)], l2=2)
    X, y = data(rng, net)
    W, V = net.weights
    expected = 0.1 * np.abs(W).sum() + 0.25 * (W**2).sum() + (V**2).sum()
    assert_allclose(net.value_and_gradient(X, y, penalty=True)[0] - net.value_and_gradient(X, y)[0], expected)
    net.partial_fit(X, y, optimizer=AdamW(0.01, weight_decay=0.1))
    assert net._model.penalties == [(0.1, 0.5), (0, 2)]


def test_start_from_data(rng):
    net = network(NETWORKS["first"])
    X, _ = data(rng, net, 300)
    net.init_lsuv(X)
    assert all(W.any() for W in net.weights[:3])
    for z in (net.activations(X)[name].z for name in "12"):
        assert_allclose(z.std(), 1)


# ---- what is in X ---------------------------------------------------------------------------------------------------


def calls(net, X, y):
    """Everything that takes X."""
    rule, good = SGD(0.1), np.zeros_like(X)
    return [
        lambda: net.fit(X, y), lambda: net.fit(X, y, epochs=2), lambda: net.partial_fit(X, y, optimizer=rule),
        lambda: net.fit(good, y, validation_data=(X, y), epochs=2), lambda: net.predict(X), lambda: net.forward(X),
        lambda: net.value_and_gradient(X, y), lambda: net.hessian(X, y), lambda: net.activations(X),
        lambda: net.hessian_vector_product(X, y, net.parameters), lambda: net.init_lsuv(X),
        lambda: net.step_with(X, lambda a: a, rule), lambda: net.program("train", X=X),
    ]  # fmt: skip


@pytest.mark.parametrize("value", [5, -1, 1.5, 4.000001, np.nan, np.inf, -np.inf, 1e30, 2**32, -1e-30])
@pytest.mark.parametrize("row", [0, 30])
def test_what_is_no_category(rng, value, row):
    net = network([Embed({2: 5, 0: 3}, 2), Dense(1)])
    X, y = data(rng, net)
    net.partial_fit(X, y, optimizer=Adam())
    state, before = net._model.optimizer_state.copy(), net.parameters.copy()
    X[row, 2] = value
    message = "X must hold integers from 0 to 4 in column 2, which Embed takes for categories, "
    message += f"got {X[row, 2]} in row {row}"
    for call in calls(net, X, y):
        with pytest.raises(ValueError) as error:
            call()
        found = str(error.value).removeprefix("validation_data: ")
        assert found in (message, "Input X contains NaN.") or "Input X contains infinity" in found
        assert_array_equal(net.parameters, before)
        assert_array_equal(net._model.optimizer_state.arrays, state.arrays)
    for kind in (X.tolist(), np.asfortranarray(X), X.astype("f4"), np.repeat(X, 300, axis=0)[::300]):
        with pytest.raises(ValueError, match="X must hold integers from 0 to 4 in column 2"):
            net.predict(kind)


def test_kinds_of_input(rng):
    """Also long ones, and those of other layouts than the core reads in place."""
    net = network([Embed({2: 5, 0: 3}, 2), Dense(4, "tanh"), Dense(1)])
    numbers = rng.integers(0, 3, size=(9000, 6))
    y, results = rng.random(9000), []
    kinds = [numbers.astype(t) for t in ("f8", "f4", "f2", "u1", "i8", "i2", ">f8", ">i4")]
    kinds += [np.asfortranarray(kinds[0]), kinds[0][:, ::-1][:, ::-1], numbers[:9].tolist() + numbers[9:].tolist()]
    for X in kinds:
        one = copy.deepcopy(net)
        one.fit(X, y, epochs=2, batch_size=100, shuffle=False)
        results.append([one.parameters, net.predict(X), net.value_and_gradient(X, y)[1]])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_array_equal(a, b)
    kinds[0][8500, 0] = 7
    with pytest.raises(ValueError, match=r"from 0 to 2 in column 0, .* got 7.0 in row 8500"):
        net.predict(kinds[0])
    assert net.predict(numbers.astype(bool)).shape == (9000, 1)
    assert net.predict(kinds[0][:0]).shape == (0, 1)


def test_memory_map(rng, tmp_path):
    net = network([Embed({2: 5, 0: 3}, 2), Dense(1)], dtype="float32")
    X, y = data(rng, net, 10000, "f4")
    X.tofile(tmp_path / "X")
    mapped = np.memmap(tmp_path / "X", "f4", "r", shape=X.shape)
    a, b = copy.deepcopy(net), copy.deepcopy(net)
    a.fit(X, y, shuffle=False)
    b.fit(mapped, y, shuffle=False)
    assert_array_equal(a.parameters, b.parameters)


def test_the_least_number_of_two_tables(rng):
    """One column may have two tables."""
    net = network([Parallel([[Embed({1: 4}, 2)], [Embed({1: 3}, 2)]]), Dense(1)])
    assert net._model.categories == {1: 3}
    X = np.zeros((2, 6))
    X[1, 1] = 3
    with pytest.raises(ValueError, match="from 0 to 2 in column 1"):
        net.predict(X)


def test_x_must_be_dense_and_plain(rng):
    net = network(NETWORKS["first"])
    X, y = data(rng, net, 9)
    with pytest.raises(ValueError, match=r"X must be dense for a first layer Embed\(.*, got a sparse matrix"):
        net.fit(sparse.csr_array(X), y)
    with pytest.raises(ValueError, match="augmentation must be None with Embed"):
        net.fit(X, y, augmentation=ImageAugmentation((2, 3)))


# ---- copies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_copies(rng, layers, dtype):
    net, stream = network(layers, dtype=dtype, l2=0.1), io.BytesIO()
    X, y = data(rng, net)
    net.fit(X, y, optimizer=Adam(0.01), epochs=2)
    net.save(stream)
    stream.seek(0)
    loaded, *copies = Network.load(stream), pickle.loads(pickle.dumps(net)), copy.deepcopy(net)
    for one in (loaded, *copies):
        assert repr(one) == repr(net) and one.layers == net.layers
        assert_array_equal(one.parameters, net.parameters)
        assert_array_equal(one.predict(X), net.predict(X))
    net.partial_fit(X, y, optimizer=Adam(0.01), epochs=2)
    for one in copies:
        one.partial_fit(X, y, optimizer=Adam(0.01), epochs=2)
        assert_array_equal(one.parameters, net.parameters)
