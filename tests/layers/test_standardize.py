"""Inputs standardised: what is learnt from which rows, of arrays of all kinds and CSR, and for how long."""

import copy
import io
import pickle

import numpy as np
import pytest
from network_cases import FULL_BATCH, central_differences, check_hessian, relative_error
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.preprocessing import StandardScaler

from fastbp import SGD, Activation, Adam, Dense, MLPClassifier, MLPRegressor, Network, Parallel, Standardize
from fastbp.network.start import column_moments

LAYERS = [Standardize(), Dense(6, "tanh"), Dense(1)]


def problem(rng, n=70):
    X = rng.normal(size=(n, 5)) * [1, 100, 1e-3, 5, 2] + [0, 50, 1, -1e4, 3]
    X[:, 3] = -1e4
    return X, rng.normal(size=n)


def make(layers=LAYERS, n_inputs=5, **settings):
    return Network(layers, n_inputs=n_inputs, random_state=0, **settings)


def state(net):
    return list(net.layer_state.values())


# ---- moments --------------------------------------------------------------------------------------------------------


def test_moments(rng, tmp_path):
    """Those of scikit-learn, whatever the kind of array and the blocks that it is read in."""
    X = np.asfortranarray(rng.normal(size=(3000, 400)) * np.logspace(-3, 3, 400) + rng.normal(size=400) * 1e4)
    X[:, 7] = 0.1
    weight = rng.random(3000) * (rng.random(3000) < 0.8)
    order = rng.permutation(3000)[:1900]
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    for rows, w in ((None, None), (None, weight), (order, None), (order, weight)):
        at = slice(None) if rows is None else rows
        scaler = StandardScaler().fit(X[at], sample_weight=None if w is None else w[at])
        for kind in (X, mapped, X[::1, :]):
            mean, variance, n = column_moments(kind, rows, w)
            assert_allclose(mean, scaler.mean_, rtol=1e-10)
            assert_allclose(variance, scaler.var_, rtol=1e-9, atol=1e-20)
            assert n == (len(X[at]) if w is None else np.count_nonzero(w[at])) and variance[7] == 0


def test_moments_of_csr_and_integers(rng):
    X = rng.integers(0, 250, (1000, 700)).astype(np.uint8) * (rng.random((1000, 700)) < 0.1)
    weight = rng.random(1000)
    mean, variance, _ = column_moments(X, None, weight)
    for kind in (sparse.csr_array(X), sparse.csr_matrix(X.astype("f4"))):
        zero, found, n = column_moments(kind, None, weight)
        assert not zero.any() and n == 1000
        assert_allclose(found, variance, rtol=1e-10)
    assert mean.all()


def test_rows_without_weight_may_hold_anything(rng):
    X, weight = rng.normal(size=(50, 3)), np.ones(50)
    X[9], weight[9] = np.nan, 0
    assert_allclose(column_moments(X, None, weight)[1], np.delete(X, 9, axis=0).var(0))


# ---- networks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_is_a_scaler_before_the_network(rng, dtype):
    X, y = problem(rng)
    net, plain = make(dtype=dtype), make(LAYERS[1:], dtype=dtype)
    Z = StandardScaler().fit_transform(X)
    histories = [one.fit(x, y, optimizer=Adam(0.01), epochs=5, batch_size=16) for one, x in ((net, X), (plain, Z))]
    tolerance = 1e-9 if dtype == "float64" else 1e-3
    assert_allclose(histories[0].loss, histories[1].loss, rtol=tolerance)
    assert_allclose(net.predict(X), plain.predict(Z), rtol=10 * tolerance, atol=tolerance)
    assert_allclose(net.layer_state["0.mean"], X.mean(0), rtol=1e-6)
    assert_allclose(net.layer_state["0.variance"], np.where(X.var(0) > 1e-20, X.var(0), 1), rtol=1e-5)
    assert net.layer_state["0.n_samples"] == 70
    assert_allclose(net.activations(X)["0"].a, Z, atol=1e-9 if dtype == "float64" else 0.02)


def test_what_is_learnt_first_stays(rng):
    X, y = problem(rng)
    for first in (
        lambda net: net.fit(X, y), lambda net: net.partial_fit(X, y, epochs=2), lambda net: net.init_lsuv(X),
        lambda net: net.fit(X, y, optimizer=FULL_BATCH[-1], epochs=2),
        lambda net: net.fit(X, y, epochs=3, validation_data=(2 * X, y), early_stopping=1),
    ):
        net = make()
        assert not net.layer_state["0.n_samples"].any() and (net.layer_state["0.variance"] == 1).all()
        first(net)
        learnt = copy.deepcopy(state(net))
        assert_allclose(learnt[0], X.mean(0))
        stream = io.BytesIO()
        net.save(stream)
        stream.seek(0)
        for one in (net, pickle.loads(pickle.dumps(net)), Network.load(stream)):
            one.fit(3 * X, y)
            one.partial_fit(X + 1, y, epochs=2)
            for a, b in zip(state(one), learnt, strict=True):
                assert_array_equal(a, b)


def test_init_lsuv_takes_it_anew(rng):
    X, y = problem(rng)
    net = make()
    net.fit(X, y)
    net.init_lsuv(2 * X)
    assert_allclose(net.layer_state["0.mean"], 2 * X.mean(0))
    assert_allclose(net.activations(2 * X)["1"].z.std(), 1)


def test_retraining_on_all_data_learns_from_them(rng):
    X, y = problem(rng)
    net = make()
    net.fit(X, y, epochs=3, validation_data=(2 * X, y), early_stopping=1, then="retrain")
    assert_allclose(net.layer_state["0.mean"], 1.5 * X.mean(0))


@pytest.mark.parametrize("epochs", [1, 2])
def test_training_that_fails_learns_nothing(rng, epochs):
    X, y = problem(rng)
    net = make()
    for x, target in ((np.where(X == X[3], np.nan, X), y), (X, y * 1e300)):
        with pytest.raises((ValueError, FloatingPointError)):
            net.fit(x, target, epochs=epochs)
        assert not net.layer_state["0.n_samples"].any() and not net.layer_state["0.mean"].any()


def test_gradients(rng):
    X, y = problem(rng)
    net = make(l2=0.1)
    net.fit(X, y)
    weight = rng.random(len(X))

    def f():
        return net.value_and_gradient(X, y, weight, penalty=True)[0]

    gradient = net.value_and_gradient(X, y, weight, penalty=True)[1]
    assert relative_error(gradient, central_differences(f, net.parameters)) < 1e-6
    check_hessian(rng, net, X, y, weight)
    a = net.forward(X[:9])
    dX = net.backward(np.ones_like(a))[1]
    step = 1e-4 * np.sqrt(net.layer_state["0.variance"])
    for j in range(5):
        moved = X[:9].copy(), X[:9].copy()
        moved[0][:, j] += step[j]
        moved[1][:, j] -= step[j]
        numeric = (net.predict(moved[0]) - net.predict(moved[1]))[:, 0] / (2 * step[j])
        assert_allclose(dX[:, j], numeric, rtol=1e-5, atol=1e-6 * np.abs(numeric).max())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_bits_for_any_number_of_threads(rng, dtype):
    X, y, results = rng.normal(size=(600, 120)).astype(dtype) * 9 + 3, rng.random((600, 3)), []
    for n_threads in (1, 2, 3):
        net = make([Standardize(), Dense(300, "relu"), Dense(150, "tanh"), Dense(3)], 120, dtype=dtype)
        history = net.fit(X, y, optimizer=Adam(), epochs=3, batch_size=100, n_threads=n_threads)
        results.append([net.parameters, history.loss, net.predict(X, n_threads=n_threads)])
        results[-1] += net.value_and_gradient(X, y, n_threads=n_threads)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_array_equal(a, b)


# ---- CSR ------------------------------------------------------------------------------------------------------------


def sparse_problem(rng, n=300, width=40):
    X = rng.normal(size=(n, width)) * np.logspace(-2, 2, width) * (rng.random((n, width)) < 0.2)
    return X, rng.normal(size=n)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_csr_is_divided_and_not_centred(rng, dtype, n_threads):
    """It gives what dense X does with the same statistics, to the bit."""
    X, y = sparse_problem(rng)
    X = X.astype(dtype)
    layers = [Standardize(), Parallel([[Dense(20, "tanh")], [Dense(90, "relu")]]), Dense(2)]
    csr, dense = make(layers, 40, dtype=dtype), make(layers, 40, dtype=dtype)
    S, y = sparse.csr_array(X), rng.normal(size=(300, 2))
    csr.fit(S, y, n_threads=n_threads)
    assert not csr.layer_state["0.mean"].any()
    assert_allclose(csr.layer_state["0.variance"], X.astype(float).var(0), rtol=1e-5)
    for name, values in csr.layer_state.items():
        dense.layer_state[name][:] = values
    csr.parameters[:] = dense.parameters
    assert_array_equal(csr.predict(S, n_threads=n_threads), dense.predict(X))
    assert_array_equal(csr.predict(S[:1]), dense.predict(X[:1]))
    assert_array_equal(csr.predict(X), dense.predict(X))
    rtol = 1e-9 if dtype == "float64" else 1e-3
    weight = rng.random(300)
    for a, b in zip(csr.value_and_gradient(S, y, weight), dense.value_and_gradient(X, y, weight), strict=True):
        assert_allclose(a, b, rtol=rtol, atol=1e-3 * rtol)
    assert_array_equal(csr.forward(S), dense.forward(X))
    dz = rng.normal(size=(300, 2)).astype(dtype)
    for a, b in zip(csr.backward(dz), dense.backward(dz), strict=True):
        assert_allclose(a, b, rtol=rtol, atol=1e-2 * rtol)
    for a, b in zip(csr.activations(S).values(), dense.activations(X).values(), strict=True):
        assert_allclose(a.z, b.z, rtol=rtol, atol=rtol)
    v = rng.normal(size=csr.parameters.size)
    products = [net.hessian_vector_product(x, y, v) for net, x in ((csr, S), (dense, X))]
    assert relative_error(*products) < rtol
    histories = [
        net.fit(x, y, optimizer=Adam(), epochs=3, batch_size=32, shuffle=False, n_threads=n_threads)
        for net, x in ((csr, S), (dense, X))
    ]
    assert_allclose(histories[0].loss, histories[1].loss, rtol=rtol)


def test_csr_with_many_columns(rng):
    """Where updates touch few rows of W."""
    S = sparse.random_array((400, 5000), density=0.002, rng=rng, format="csr") * 50
    y = rng.normal(size=400)
    nets = [make([Standardize(), Dense(9, "relu"), Dense(1)], 5000) for _ in range(2)]
    nets[0].fit(S, y, optimizer=SGD(0.01), epochs=3)
    nets[1].fit(S, y, optimizer=SGD(0.01, clip_norm=1e9), epochs=3)
    assert_allclose(nets[0].parameters, nets[1].parameters, rtol=1e-8, atol=1e-12)
    assert nets[0].predict(S[:1]).shape == (1, 1)


def test_csr_where_it_cannot_be(rng):
    X, y = sparse_problem(rng)
    S = sparse.csr_array(X)
    net = make(LAYERS, 40)
    net.fit(X, y)
    with pytest.raises(ValueError, match="X must be dense for a first layer Standardize.* that has learnt means other"):
        net.predict(S)
    for layers in (
        [Standardize(), Activation("tanh"), Dense(1)], [Parallel([[Standardize()], [Dense(3)]]), Dense(1)],
        [Parallel([[Standardize(), Dense(3)], [Dense(3)]]), Dense(1)], [Dense(3), Standardize(), Dense(1)],
    ):
        with pytest.raises(ValueError, match=r"X must be dense for a first layer|must be the first layer"):
            make(layers, 40).fit(S, y)


# ---- estimators -----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators_learn_from_what_they_train_on(rng):
    X, y = problem(rng, 120)
    est = MLPRegressor(hidden_layers=LAYERS[:2], max_iter=3, random_state=0).fit(X, y)

    def mean():
        return est._model().layer_state[:5]

    assert_allclose(mean(), X.mean(0))
    est.set_params(early_stopping=True).fit(X, y)  # on nine tenths of the rows
    assert not np.allclose(mean()[1], X[:, 1].mean(), rtol=1e-9)
    assert est._model().layer_state[10] == 108
    est.set_params(early_stopping=False, warm_start=True).fit(2 * X, y)
    assert est._model().layer_state[10] == 108
    est.set_params(warm_start=False).fit(2 * X, y, sample_weight=np.arange(120.0))
    assert_allclose(mean(), np.average(2 * X, axis=0, weights=np.arange(120)))
    est = MLPRegressor(hidden_layers=LAYERS[:2], random_state=0).partial_fit(X[:50], y[:50]).partial_fit(X, y)
    assert_allclose(mean(), X[:50].mean(0))
    assert_array_equal(pickle.loads(pickle.dumps(est)).predict(X), est.predict(X))
    with pytest.raises(ValueError, match="NaN"):
        MLPRegressor(hidden_layers=LAYERS[:2]).fit(X * np.nan, y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_classifier_of_csr(rng):
    X, _ = sparse_problem(rng)
    S, y = sparse.csr_array(X), (X[:, 30] > 0).astype(int)
    clf = MLPClassifier(hidden_layers=[Standardize(), Dense(8, "relu")], max_iter=150, random_state=0).fit(S, y)
    assert_array_equal(clf.predict(S), clf.predict(X))
    assert clf.score(S, y) > 0.8
    assert clf.transform(S).shape == (300, 8) and clf.transform(S, layer=0).shape == (300, 40)
    assert clf.__sklearn_tags__().input_tags.sparse
    dense = MLPClassifier(hidden_layers=[Standardize(), Activation("tanh")], max_iter=2)
    assert not dense.__sklearn_tags__().input_tags.sparse
