"""Networks with several outputs, each with its loss: dicts of targets, predictions and gradients."""

import copy
import io
import pickle
from functools import partial

import numpy as np
import pytest
from network_cases import FULL_BATCH, OPTIMIZERS, central_differences, check_hessian, one_step, relative_error
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from fastbp import (
    SGD,
    Adam,
    Dense,
    Dropout,
    HistogramLoss,
    Huber,
    Network,
    Parallel,
    Quantile,
    Residual,
    Shared,
    SoftmaxCrossEntropy,
)

pytestmark = pytest.mark.once

N_INPUTS = 5
LOSSES = {"price": "squared_error", "kind": "softmax_cross_entropy"}
HEADS = Parallel({"price": [Dense(1)], "kind": [Dense(6, "silu"), Dense(4)]})
LAYERS = [Dense(8, "tanh"), Residual([Dense(6, "gelu"), Dense(8)]), HEADS]


def network(layers=LAYERS, loss=LOSSES, loss_weights=None, seed=0, **settings):
    return Network(
        layers, n_inputs=N_INPUTS, loss=loss, loss_weights=loss_weights, random_state=seed, **settings
    )  # fmt: skip


def data(rng, n=40):
    return rng.normal(size=(n, N_INPUTS)), {"price": rng.random(n), "kind": rng.integers(0, 4, n)}


MANY = {
    "histogram": (HistogramLoss([0, 0.25, 0.5, 1]), 3, lambda rng, n: rng.random(n)),
    "smooth": (HistogramLoss([0, 0.5, 1], sigma=0.1), 2, lambda rng, n: rng.random((n, 1))),
    "quantiles": (Quantile([0.1, 0.5, 0.9]), 6, lambda rng, n: rng.random((n, 2))),
    "density": ("gaussian", 2, lambda rng, n: rng.random(n)),
    "labels": ("cross_entropy", 3, lambda rng, n: rng.integers(0, 2, (n, 3)).astype(bool)),
    "counts": ("poisson", 1, lambda rng, n: rng.integers(0, 5, n)),
    "class": (SoftmaxCrossEntropy(0.1, fixed_logit=True), 3, lambda rng, n: rng.integers(0, 3, n)),
    "probabilities": ("softmax_cross_entropy", 3, lambda rng, n: rng.dirichlet(np.ones(3), n)),
    "robust": (Huber(0.1), 2, lambda rng, n: rng.random((n, 2)).astype("f4")),
}
MANY_WEIGHTS = {"histogram": 2.0, "counts": 0.1, "robust": 3.0}


def many(rng, n, **settings):
    """A network with all kinds of losses, and data for it."""
    heads = Parallel({name: [Dense(n_out)] for name, (_, n_out, _) in MANY.items()})
    loss = {name: loss for name, (loss, _, _) in MANY.items()}
    net = network([Dense(7, "tanh"), heads], loss, MANY_WEIGHTS, **settings)
    return net, rng.normal(size=(n, N_INPUTS)), {name: targets(rng, n) for name, (_, _, targets) in MANY.items()}


def alone(net, name):
    """The head as a network, with the same parameters."""
    branch = net.layers[-1].branches[name]
    one = Network([*net.layers[:-1], *branch], n_inputs=N_INPUTS, loss=net.loss[name], dtype=net.dtype.name)
    values, made_by = net._model.graph.values, [op for op in net._model.graph.forward if op.kind == "dense"]
    paths = [values[op.output].name.split(".") for op in made_by]
    places = [i for i, path in enumerate(paths) if path[0] != str(len(net.layers) - 1) or path[1] == name]
    for i, place in enumerate(places):
        one.weights[i][:], one.biases[i][:] = net.weights[place], net.biases[place]
    return one, places


# ---- costs and gradients --------------------------------------------------------------------------------------------


def test_the_cost_is_the_weighted_sum_of_those_of_the_heads(rng):
    net, X, y = many(rng, 23)
    weight = rng.random(23)
    cost, gradient = net.value_and_gradient(X, y, weight)
    total, W_total, b_total = 0.0, *net._model.views(np.zeros_like(gradient))
    predictions, outputs = net.predict(X), net.forward(X)
    for name in MANY:
        one, places = alone(net, name)
        its_cost, its_gradient = one.value_and_gradient(X, y[name], weight)
        factor = MANY_WEIGHTS.get(name, 1.0)
        total += factor * its_cost
        for place, W, b in zip(places, *one._model.views(its_gradient), strict=True):
            W_total[place][:] += factor * W
            b_total[place][:] += factor * b
        assert_array_equal(one.predict(X), predictions[name])
        assert_array_equal(one.forward(X), outputs[name])
    assert_allclose(cost, total, rtol=1e-12)
    assert_allclose(gradient, W_total[0].base, rtol=1e-9, atol=1e-14)
    assert predictions["histogram"].shape == (23, 1) and outputs["histogram"].shape == (23, 3)


@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_by_central_differences(rng, weighted):
    net, X, y = many(rng, 17, l1=0.01, l2=0.1)
    f = partial(net.value_and_gradient, X, y, rng.random(17) if weighted else None, penalty=True)
    assert relative_error(f()[1], central_differences(lambda: f()[0], net.parameters)) < 1e-6


def test_hessian(rng):
    net, X, y = many(rng, 17, l2=0.1)
    check_hessian(rng, net, X, y, rng.random(17))


def test_gradient_with_dropout_and_shared_weights(rng):
    top = Shared(Dense(4, "tanh"))
    heads = Parallel({"price": [Dropout(0.3), top, Dense(1)], "kind": [Dense(8, "tanh", dropout=0.2), top]})
    net = network([Dense(8, "tanh", dropout=0.5), heads], {"price": "squared_error", "kind": "squared_error"})
    X, y = rng.normal(size=(60, N_INPUTS)), {"price": rng.random(60), "kind": rng.random((60, 4))}
    cost, gradient = one_step(net, X, y)
    assert cost != one_step(net, X, y, seed=4)[0]
    numeric = central_differences(lambda: one_step(net, X, y)[0], net.parameters)
    assert relative_error(gradient, numeric) < 1e-6


def test_a_head_of_weight_0_is_not_learnt(rng):
    net, (X, y) = network(loss_weights={"kind": 0}), data(rng)
    assert dict(net.loss_weights) == {"price": 1.0, "kind": 0.0}
    before = net.parameters.copy()
    net.fit(X, y, epochs=2)
    for W, W_before in zip(net.weights[4:], net._model.views(before)[0][4:], strict=True):
        assert_array_equal(W, W_before)
    assert (net.weights[0] != net._model.views(before)[0][0]).any()


def test_forward_and_backward(rng):
    net = network(loss=None)
    assert net.loss is None
    X, _ = data(rng)
    a = net.forward(X)
    assert list(a) == ["price", "kind"] and [part.shape for part in a.values()] == [(40, 1), (40, 4)]
    dz = {name: rng.normal(size=part.shape) for name, part in a.items()}
    gradient, input_gradient = net.backward(dz)

    def cost():
        return sum((part * dz[name]).sum() for name, part in net.predict(X).items())

    assert relative_error(gradient, central_differences(cost, net.parameters)) < 1e-6
    assert relative_error(input_gradient.ravel(), central_differences(cost, X.reshape(-1))) < 1e-6
    net.forward(X)
    for bad, message in (
        (dz["price"], "dz must be a dict by the names of the heads"),
        ({"price": dz["price"]}, r"missing are \['kind'\], unknown \[\]"),
        (dz | {"kind": dz["price"]}, r"dz\['kind'\] must have the shape of what forward returned, \(40, 4\)"),
    ):
        with pytest.raises(ValueError, match=message):
            net.backward(bad)


# ---- training -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_updates_are_steps_along_the_gradient(rng, optimizer):
    net, X, y = many(rng, 40, l1=0.01, l2=0.1)
    by_step = copy.deepcopy(net)
    for _ in range(2):
        for start in (0, 16, 32):
            part = slice(start, start + 16)
            batch = {name: targets[part] for name, targets in y.items()}
            by_step.step(by_step.value_and_gradient(X[part], batch)[1], optimizer)
    net.fit(X, y, optimizer=optimizer, epochs=2, batch_size=16, shuffle=False)
    assert_allclose(net.parameters, by_step.parameters, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("optimizer", FULL_BATCH, ids=lambda rule: type(rule).__name__)
def test_full_batch_rules(rng, optimizer):
    net, (X, y) = network(l2=0.01), data(rng)
    before = net.value_and_gradient(X, y, penalty=True)[0]
    losses = net.fit(X, y, optimizer=optimizer, epochs=5).loss
    assert losses[0] == pytest.approx(before) and net.value_and_gradient(X, y, penalty=True)[0] < before


def test_learning(rng):
    """Both heads learn what depends on the inputs."""
    X = rng.normal(size=(400, N_INPUTS))
    y = {"price": X[:, 0] * X[:, 1], "kind": (X[:, 2] > 0) + 2 * (X[:, 3] > 0)}
    net = network()
    net.fit(X, y, optimizer=Adam(0.01), epochs=60)
    a = net.predict(X)
    assert ((a["price"][:, 0] - y["price"]) ** 2).mean() < 0.1 * y["price"].var()
    assert (a["kind"].argmax(1) == y["kind"]).mean() > 0.95
    assert_allclose(a["kind"].sum(1), 1)


@pytest.mark.parametrize("then", [None, "retrain", "continue"])
def test_validation(rng, then):
    net, (X, y) = network(), data(rng, 60)
    validation = data(rng, 20)
    history = net.fit(
        X, y, validation_data=(*validation, np.ones(20)), early_stopping=2, epochs=20, optimizer=Adam(0.05), then=then
    )  # fmt: skip
    assert len(history.validation_loss) == len(history.loss) and (history.second is None) == (then is None)
    if then is None:
        assert_allclose(net.value_and_gradient(*validation)[0], history.validation_loss.min())


def test_targets_of_both_kinds_are_not_joined(rng):
    net, (X, y) = network(), data(rng)
    validation = X, y | {"kind": np.eye(4)[y["kind"]]}
    net.fit(X, y, validation_data=validation)
    with pytest.raises(ValueError, match="then needs validation_data with a y like y"):
        net.fit(X, y, validation_data=validation, early_stopping=1, then="retrain")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_same_bits_for_any_number_of_threads(rng, dtype, kind):
    X = rng.normal(size=(400, 120)).astype(dtype)
    X[rng.random(X.shape) < 0.6] = 0
    y, results = {"price": rng.random((400, 60)), "kind": rng.integers(0, 90, 400)}, []
    layers = [Dense(200, "relu"), Parallel({"price": [Dense(60)], "kind": [Dense(70, "tanh"), Dense(90)]})]
    for n_threads in (1, 2, 3):
        net = Network(layers, n_inputs=120, random_state=0, dtype=dtype, loss=LOSSES, loss_weights={"price": 0.3})
        history = net.fit(kind(X), y, optimizer=Adam(), epochs=2, batch_size=128, n_threads=n_threads)
        assert net._model.engine.n_members == n_threads
        results.append([net.parameters, history.loss, *net.predict(kind(X), n_threads=n_threads).values()])
        results[-1] += net.value_and_gradient(kind(X), y, n_threads=n_threads)
        a = net.forward(kind(X), n_threads=n_threads)
        results[-1] += [*a.values(), *net.backward(a, n_threads=n_threads)]
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_array_equal(a, b)


# ---- predictions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predict(rng, dtype):
    net, X, _ = many(rng, 60, dtype=dtype)
    def check(found, rows):
        for name, part in a.items():  # means of distributions are products of NumPy's
            tolerance = 1e-6 if name in ("histogram", "smooth") else 0
            assert_allclose(found[name], part[rows], tolerance, tolerance)

    a = net.predict(X)
    assert list(a) == list(MANY) and all(part.flags.c_contiguous and part.dtype == dtype for part in a.values())
    order = np.array([3, 1, 1, 50])
    out = {name: np.empty((4, part.shape[1]), dtype) for name, part in a.items()}
    check(net.predict(X, order=order), order)
    assert net.predict(X, order=order, out=out) is out
    check(out, order)
    check(net.predict(sparse.csr_array(X)), slice(None))
    check(net.predict(X[:1]), slice(1))
    check(net.predict(X[:0]), slice(0))


def test_bad_out(rng):
    net, X = network(), rng.normal(size=(6, N_INPUTS))
    a, memory = net.predict(X), np.empty(30)
    for bad, message in (
        (a["price"], "out must be a dict by the names of the heads"),
        ({"price": a["price"]}, r"missing are \['kind'\], unknown \[\]"),
        (a | {"other": a["kind"]}, r"missing are \[\], unknown \['other'\]"),
        (a | {"kind": a["kind"].T.copy()}, r"out\['kind'\] must be .* of shape \(6, 4\)"),
        ({"price": memory[:6, None], "kind": memory[4:28].reshape(6, 4)}, "out must be arrays apart from each other"),
    ):
        with pytest.raises(ValueError, match=message):
            net.predict(X, out=bad)
    assert_array_equal(net.predict(X, out=a)["kind"], net.predict(X)["kind"])


def test_one_head(rng):
    net = network([Dense(4, "tanh"), Parallel({"price": [Dense(2)]})], {"price": "huber"}, {"price": 0.5})
    chain = Network([Dense(4, "tanh"), Dense(2)], n_inputs=N_INPUTS, loss="huber", random_state=0)
    X, y = rng.normal(size=(30, N_INPUTS)), rng.random((30, 2))
    assert_array_equal(net.predict(X)["price"], chain.predict(X))
    assert_array_equal(net.forward(X)["price"], chain.forward(X))
    for a, b in zip(net.backward({"price": y}), chain.backward(y), strict=True):
        assert_array_equal(a, b)
    for a, b in zip(net.value_and_gradient(X, {"price": y}), chain.value_and_gradient(X, y), strict=True):
        assert_allclose(a, b / 2)
    out = {"price": np.empty((30, 2))}
    assert net.predict(X, out=out) is out
    net.fit(X, {"price": y}, optimizer=SGD(0.2), epochs=2, shuffle=False)
    chain.fit(X, y, optimizer=SGD(0.1), epochs=2, shuffle=False)
    assert_allclose(net.parameters, chain.parameters)


# ---- copies and errors ----------------------------------------------------------------------------------------------


def test_copies(rng):
    net, X, y = many(rng, 40)
    stream = io.BytesIO()
    net.fit(X, y, optimizer=Adam(0.01), epochs=2)
    net.save(stream)
    stream.seek(0)
    loaded, *copies = Network.load(stream), pickle.loads(pickle.dumps(net)), copy.deepcopy(net)
    assert "'histogram': 2.0" in repr(net) and "'smooth': 1.0" in repr(net)
    for one in (loaded, *copies):
        assert repr(one) == repr(net) and one.loss == net.loss and one.loss_weights == net.loss_weights
        assert_array_equal(one.predict(X)["labels"], net.predict(X)["labels"])
    net.partial_fit(X, y, optimizer=Adam(0.01), epochs=2)
    for one in copies:
        one.partial_fit(X, y, optimizer=Adam(0.01), epochs=2)
        assert_array_equal(one.parameters, net.parameters)


def test_a_head_named_like_a_loss_in_a_file():
    net, stream = network([Parallel({"Huber": [Dense(1)]})], {"Huber": Huber(0.5)}), io.BytesIO()
    net.save(stream)
    stream.seek(0)
    assert Network.load(stream).loss == net.loss


def test_without_loss_in_a_file(rng):
    net, stream = network(loss=None), io.BytesIO()
    net.save(stream)
    stream.seek(0)
    again = Network.load(stream)
    assert again.loss is None and repr(again) == repr(net)
    assert_array_equal(again.predict(np.ones((1, N_INPUTS)))["kind"], net.predict(np.ones((1, N_INPUTS)))["kind"])


@pytest.mark.parametrize(("settings", "message"), [
    ({"loss": "squared_error"}, r"loss must be a dict by the names of the heads, \['price', 'kind'\], got 'squared_e"),
    ({"loss": {"price": "huber"}}, r"loss must be a dict .*; missing are \['kind'\], unknown \[\]"),
    ({"loss": LOSSES | {"x": "huber"}}, r"loss must be a dict .*; missing are \[\], unknown \['x'\]"),
    ({"loss": LOSSES | {"kind": None}}, "loss must be one for each head, or None for all, got None for 'kind'"),
    ({"loss": LOSSES | {"kind": "hinge"}}, r"loss\['kind'\] must be one of"),
    ({"loss": LOSSES | {"price": "gaussian"}}, r"loss\['price'\]: loss='gaussian' needs 2 outputs for each target"),
    ({"loss_weights": 0.5}, r"loss_weights must be a dict by names among \['price', 'kind'\], got 0.5"),
    ({"loss_weights": {"x": 0.5}}, r"loss_weights must be a dict by names among \['price', 'kind'\], got {'x': 0.5}"),
    ({"loss_weights": {"kind": -1}}, r"loss_weights\['kind'\] must be a number in \[0, inf\), got -1"),
    ({"loss_weights": {"kind": 1e300}, "dtype": "float32"}, r"loss_weights\['kind'\] must be finite in the network"),
    ({"layers": [Dense(2)]}, "loss must be one for the output, as there are no heads, got {'price'"),
    ({"layers": [Dense(2)], "loss": "huber", "loss_weights": {}}, "loss_weights must be None for a network with one"),
])  # fmt: skip
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        network(**settings)


@pytest.mark.parametrize(("change", "message"), [
    (lambda y: y["price"], "y must be a dict by the names of the heads, .*, got ndarray"),
    (lambda y: {"price": y["price"]}, r"missing are \['kind'\], unknown \[\]"),
    (lambda y: y | {"x": 1}, r"missing are \[\], unknown \['x'\]"),
    (lambda y: y | {"kind": y["kind"] + 9}, r"y\['kind'\] must hold class indices from 0 to 3"),
    (lambda y: y | {"price": y["price"][1:]}, r"y\['price'\] must have 40 rows"),
    (lambda y: y | {"price": y["price"] * np.nan}, r"Input y\['price'\] contains NaN"),
])  # fmt: skip
def test_bad_targets(rng, change, message):
    net, (X, y) = network(), data(rng)
    before = net.parameters.copy()
    for call in (net.fit, net.value_and_gradient, partial(net.fit, X, y, validation_data=(X, change(y)))):
        with pytest.raises(ValueError, match=message):
            call() if isinstance(call, partial) else call(X, change(y))
    assert_array_equal(net.parameters, before)
