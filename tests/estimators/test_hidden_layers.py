"""Estimators with `hidden_layers`: any layers in the place of numbers of units."""

import copy
import pickle
from functools import partial

import joblib
import numpy as np
import pytest
from estimator_cases import (
    X_digits,
    X_iris,
    X_multi,
    X_reg,
    Y_multi,
    assert_same_parameters,
    assert_unharmed,
    parameters,
    y_digits,
    y_iris,
    y_reg,
)
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils import get_tags

from fastbp import (
    LBFGS,
    RBF,
    SGD,
    Activation,
    BatchNorm,
    Dense,
    Dropout,
    Embed,
    GroupNorm,
    HistogramLoss,
    LayerNorm,
    MLPClassifier,
    MLPRegressor,
    Network,
    Newton,
    NewtonCG,
    Parallel,
    PReLU,
    Quantile,
    Residual,
    Rprop,
    Scale,
    Shared,
    Standardize,
    Transposed,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CODE = Shared(Dense(3, "tanh"), name="code")
STEP = Shared(Dense(6, "tanh"), name="step")
LISTS = {
    "none": [],
    "chain": [Dense(8, "relu"), Dense(5, "tanh")],
    "units": [Dense(8), Activation("relu"), Dropout(0.1)],
    "residual": [Dense(6, "relu"), Residual([Dense(6, "tanh"), Residual([Dense(4)], projection="linear"), Dense(6)])],
    "projection": [Residual([Dense(7, "relu")], projection="linear")],
    "parallel": [Parallel([[], [Dense(6, "relu")]]), Dense(5, "tanh")],
    "shared": [Dense(6), STEP, STEP],
    "tied": [CODE, CODE.transposed("tanh")],
    "rbf": [RBF(9)],
    "scales": [Scale(), Dense(6, "relu"), Scale(bias=False)],
    "slopes": [Dense(6), PReLU()],
    "batch normalized": [Dense(7), BatchNorm(), Activation("relu"), Dense(5, "tanh"), BatchNorm(affine=False)],
    "rows normalized": [Dense(12), LayerNorm(), Activation("relu"), Dense(8), GroupNorm(2)],
    "standardized": [Standardize(), Dense(6, "relu")],
    "first dropout": [Dropout(0.1), Dense(8, "relu")],
}


def classifier(layers, **settings):
    return MLPClassifier(hidden_layers=layers, **{"max_iter": 5, "random_state": 0, **settings})


def regressor(layers, **settings):
    return MLPRegressor(hidden_layers=layers, **{"max_iter": 5, "random_state": 0, **settings})


@pytest.fixture(params=LISTS)
def layers(request):
    return LISTS[request.param]


def flat(estimator):
    return estimator._model().parameters


# What is computed


@pytest.mark.parametrize("settings", [{}, {"dropout": 0.3}, {"solver": "sgd", "l1_ratio": 0.5, "alpha": 0.1}])
def test_same_as_by_numbers(settings):
    by_numbers = MLPClassifier((8, 5), max_iter=5, random_state=0, **settings).fit(X_iris, y_iris)
    dropout = settings.get("dropout", 0)
    settings = {name: value for name, value in settings.items() if name != "dropout"}
    dense = [Dense(8, "relu", dropout=dropout), Dense(5, "relu", dropout=dropout)]
    apart = [layer for n in (8, 5) for layer in (Dense(n), Activation("relu"), Dropout(dropout))]
    for layers in (dense, tuple(dense), apart):
        by_layers = classifier(layers, **settings).fit(X_iris, y_iris)
        assert_same_parameters(by_layers, by_numbers)
        assert by_layers.loss_curve_ == by_numbers.loss_curve_
        assert_array_equal(by_layers.predict_proba(X_iris), by_numbers.predict_proba(X_iris))
        assert_array_equal(by_layers.predict_log_proba(X_iris), by_numbers.predict_log_proba(X_iris))
        assert by_layers.n_layers_ == len(layers) + 2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_as_a_network(layers, dtype):
    if any(isinstance(layer, Dropout) for layer in layers):
        layers = [layer for layer in layers if not isinstance(layer, Dropout)]
    X, Y = X_iris.astype(dtype), X_iris[:, :2].astype(dtype)
    est = regressor(layers, solver=LBFGS(), alpha=0.3).fit(X, Y)
    net = Network([*layers, Dense(2)], n_inputs=4, l2=0.3 / len(X), dtype=dtype, random_state=0)
    net.fit(X, Y, optimizer=LBFGS(), epochs=5)
    assert_array_equal(flat(est), net.parameters)
    assert_array_equal(est.predict(X), net.predict(X))
    for ours, theirs in ((est.coefs_, net.weights), (est.intercepts_, net.biases)):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                assert_array_equal(a, b)


@pytest.mark.parametrize(
    "solver", ["adam", "sgd", "lbfgs", SGD(0.1, momentum=0.9), Rprop(), LBFGS(), NewtonCG(), Newton()]
)
def test_solvers(layers, solver):
    full_batch = solver == "lbfgs" or not isinstance(solver, str | SGD)
    if full_batch and any(isinstance(layer, Dropout) for layer in layers):
        return assert_unharmed(
            classifier(layers, solver=solver),
            lambda: classifier(layers, solver=solver).fit(X_iris, y_iris),
            "dropout is for the stochastic solvers",
        )
    clf = classifier(layers, solver=solver, max_iter=30)
    if isinstance(solver, str):
        clf.set_params(learning_rate_init=0.05)
    clf.fit(X_iris, y_iris)
    assert clf.score(X_iris, y_iris) > 0.8
    assert clf.loss_ < 0.7


def test_early_stopping_and_weights(layers):
    settings = {"early_stopping": True, "class_weight": "balanced", "batch_size": 16}
    weight = np.linspace(0.5, 2, len(y_iris))
    clf = classifier(layers, **settings).fit(X_iris, y_iris, weight)
    assert len(clf.validation_scores_) == clf.n_iter_
    assert_array_equal(flat(clf), flat(clone(clf).set_params(n_threads=2).fit(X_iris, y_iris, weight)))


@pytest.mark.parametrize("y", [y_iris, y_iris > 1, Y_multi], ids=["multiclass", "binary", "multilabel"])
@pytest.mark.parametrize("loss", ["log_loss", "squared_error"])
def test_losses_of_classifiers(layers, y, loss):
    X = X_iris if len(y) == len(X_iris) and y.ndim == 1 else X_multi
    clf = classifier(layers, loss=loss).fit(X, y)
    assert_allclose(np.exp(clf.predict_log_proba(X)), clf.predict_proba(X), rtol=1e-10)
    assert clf.predict(X).shape == y.shape
    outputs = Network(clf._model().layers, n_inputs=X.shape[1], loss=clf._model().loss)
    outputs._model.restore(clf._model().snapshot())
    assert_array_equal(outputs.predict(X), clf._outputs(X))


@pytest.mark.parametrize(
    "loss, n_outputs",
    [("poisson", 1), ("gaussian", 2), ("huber", 1), (Quantile([0.1, 0.9]), 2), (HistogramLoss(np.arange(-4, 5)), 8)],
)
def test_losses_of_regressors(layers, loss, n_outputs):
    y = np.abs(y_reg) if loss == "poisson" else y_reg
    reg = regressor(layers, loss=loss).fit(X_reg, y)
    assert reg.n_outputs_ == reg.coefs_[-1].shape[1] == n_outputs
    assert np.isfinite(reg.predict(X_reg)).all()
    assert np.isfinite(reg.score(X_reg, y))
    again = pickle.loads(pickle.dumps(reg))
    assert_array_equal(again.predict(X_reg), reg.predict(X_reg))
    assert_array_equal(flat(again.partial_fit(X_reg, y)), flat(reg.partial_fit(X_reg, y)))


# Which solvers and inputs they are for


@pytest.mark.parametrize(
    "inner",
    [[Dense(4, dropout=0.2)], [Residual([Dense(4), Residual([Dropout(0.2)])])], [Shared(Dense(4, dropout=0.2))]],
)
@pytest.mark.parametrize("solver", ["lbfgs", Newton(), Rprop()])
def test_dropout_is_for_stochastic_solvers(inner, solver):
    reg = regressor([Dense(4), Parallel([inner, []]), Dense(3)], solver=solver)
    assert_unharmed(reg, lambda: reg.fit(X_reg, y_reg), "dropout is for the stochastic solvers.* 0.2")
    reg.set_params(solver="adam").fit(X_reg, y_reg)


@pytest.mark.parametrize("solver", ["lbfgs", LBFGS()])
def test_max_norm_is_for_stochastic_solvers(solver):
    reg = regressor([Residual([Dense(10, max_norm=0.5)])], solver=solver)
    assert_unharmed(reg, lambda: reg.fit(X_reg, y_reg), r"max_norm is for the stochastic solvers.*\[0.5\]")
    reg.set_params(solver="adam", learning_rate_init=0.1).fit(X_reg, y_reg)
    assert_allclose(np.linalg.norm(reg.coefs_[0], axis=0).max(), 0.5)


@pytest.mark.parametrize(
    "layers, takes",
    [
        ([], True),
        ([Dense(4, "relu")], True),
        ([Shared(Dense(4)), Residual([Dense(4)])], True),
        ([Parallel([[Dense(4)], [Dense(3), Dense(2)]])], True),
        ([Residual([Dense(7)], projection="linear")], True),
        ([Residual([Dense(4)], projection="linear")], False),  # the iris data have four columns
        ([Residual([Dense(4)])], False),
        ([Parallel([[], [Dense(4)]])], False),
        ([Dropout(0.2), Dense(4)], False),
        ([RBF(4)], False),
    ],
)
def test_sparse_input(layers, takes):
    X = csr_array(X_iris * (np.abs(X_iris) > 0.5))
    clf = classifier(layers)
    if takes:
        clf.fit(X, y_iris)
        dense = clone(clf).fit(X.toarray(), y_iris)
        assert_array_equal(flat(clf), flat(dense))
        assert_array_equal(clf.predict_proba(X), dense.predict_proba(X))
        assert get_tags(clone(clf)).input_tags.sparse
    else:
        assert_unharmed(clf, lambda: clf.fit(X, y_iris), "X must be dense for a first layer .*, got a sparse matrix")
        clf.fit(X.toarray(), y_iris)
        assert_unharmed(clf, lambda: clf.predict(X), "X must be dense for a first layer")
    assert get_tags(clf).input_tags.sparse is takes


def test_penalties_of_layers_are_like_alpha():
    """Whichever the solver: in the place of alpha, divided by the sum of weights as it is."""
    for own, settings in (({"l2": 3.0}, {"alpha": 3.0}), ({"l1": 3.0, "l2": 0.0}, {"alpha": 3.0, "l1_ratio": 1.0})):
        for solver in ("adam", "lbfgs", LBFGS(), Rprop()):
            dense = [Dense(5, "tanh")]
            everywhere = regressor(dense, solver=solver, **settings).fit(X_reg, y_reg)
            penalties = everywhere._model().penalties
            one = regressor([Dense(5, "tanh", **own)], solver=solver, alpha=0).fit(X_reg, y_reg)
            assert one._model().penalties[0] == penalties[0] == penalties[1]
            assert one._model().penalties[1] == (0, 0)
            assert one.loss_ < everywhere.loss_


# The contract of scikit-learn


def test_parameters_by_name():
    layers = [Dense(8, "relu"), Residual([Dense(8, dropout=0.2)]), Parallel([[], [RBF(3)]])]
    clf = classifier(layers)
    assert clf.get_params(deep=False)["hidden_layers"] is layers
    params = clf.get_params()
    assert params["hidden_layers__0"] is layers[0]
    assert params["hidden_layers__0__n_units"] == 8
    assert params["hidden_layers__1__layers__0__dropout"] == 0.2
    assert params["hidden_layers__2__branches__1__0__n_units"] == 3
    for without in (clf.get_params(deep=False), classifier(None).get_params()):
        assert not any(name.startswith("hidden_layers__") for name in without)

    assert clf.set_params(hidden_layers__0__n_units=9, hidden_layers__1__layers__0__n_units=9) is clf
    assert clf.hidden_layers == [Dense(9, "relu"), Residual([Dense(9, dropout=0.2)]), layers[2]]
    assert layers[0] == Dense(8, "relu")  # others may have this list
    clf.set_params(hidden_layers=[Dense(2), Dense(3)], hidden_layers__1__activation="tanh")
    assert clf.hidden_layers == [Dense(2), Dense(3, "tanh")]
    clf.set_params(hidden_layers__0=RBF(4))
    assert clf.hidden_layers == [RBF(4), Dense(3, "tanh")]
    for name, value, message in (
        ("hidden_layers__2__n_units", 4, "Invalid parameter '2__n_units'"),
        ("hidden_layers__0__activation", "relu", "Invalid parameter 'activation'"),
        ("hidden_layers__1__n_units", 0, "n_units must be an integer"),
    ):
        assert_unharmed(clf, lambda n=name, v=value: clf.set_params(**{n: v}), message)
    unset = MLPClassifier()
    assert_unharmed(unset, lambda: unset.set_params(hidden_layers__0__n_units=4), "has no parameters of its own")


def test_clone_has_a_list_of_its_own(layers):
    clf = classifier(layers).fit(X_iris, y_iris)
    twin = clone(clf)
    assert set(vars(twin)) == set(clf.get_params(deep=False))
    assert twin.hidden_layers == layers and twin.hidden_layers is not layers
    assert_array_equal(flat(twin.fit(X_iris, y_iris)), flat(clf))


def test_grid_search():
    grid = {"hidden_layers__0__n_units": [1, 8], "hidden_layers__1__rate": [0.0, 0.9]}
    settings = {"learning_rate_init": 0.05, "max_iter": 30}
    search = GridSearchCV(classifier([Dense(2, "relu"), Dropout(0.5)], **settings), grid, cv=3).fit(X_iris, y_iris)
    assert search.best_params_ == {"hidden_layers__0__n_units": 8, "hidden_layers__1__rate": 0.0}
    assert search.best_estimator_.hidden_layers == [Dense(8, "relu"), Dropout(0.0)]
    lists = [[Dense(1, "step")], [Dense(8, "relu"), Residual([Dense(8, "relu")])]]
    search = GridSearchCV(classifier([], **settings), {"hidden_layers": lists}, cv=3, n_jobs=2)
    assert search.fit(X_iris, y_iris).best_params_ == {"hidden_layers": lists[1]}
    assert list(search.cv_results_["param_hidden_layers"]) == lists


def test_representations(layers):
    clf = classifier(layers)
    assert eval(repr(clf), globals()).hidden_layers == layers or not layers
    html = clf.fit(X_iris, y_iris)._repr_html_()
    assert "hidden_layers" in html
    assert "hidden_layer_sizes=" not in repr(clf)


# Training further, copies, attributes


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e)), copy.copy]
)
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_copies_go_on_exactly(layers, duplicate, solver):
    original = classifier(layers, solver=solver, batch_size=20).fit(X_iris, y_iris)
    original.random_state = 3  # an integer: what both draw in partial_fit is the same
    before = flat(original).copy()
    twin = duplicate(original)
    assert_array_equal(twin.predict_proba(X_iris), original.predict_proba(X_iris))
    for _ in range(3):
        twin.partial_fit(X_iris, y_iris)
    assert_array_equal(flat(original), before)
    for _ in range(3):
        original.partial_fit(X_iris, y_iris)
    assert_array_equal(flat(original), flat(twin))
    assert (flat(original) != before).any()


def test_pickle_holds_parameters_once():
    wide = Shared(Dense(1000, "relu"), name="wide")
    reg = regressor([wide, wide.transposed()], solver="sgd", momentum=0, max_iter=1).fit(X_digits, y_digits)
    data = pickle.dumps(reg)
    assert b"fastbp.network" not in data
    assert len(data) < 1.05 * flat(reg).nbytes + 20_000
    loaded = pickle.loads(data)
    assert np.shares_memory(loaded.coefs_[0], loaded.coefs_[1])
    assert_array_equal(loaded.predict(X_digits), reg.predict(X_digits))
    assert pickle.dumps(reg) == data


def test_pickles_from_before_there_were_layers():
    clf = MLPClassifier((5, 6), max_iter=3, random_state=0).fit(X_iris, y_iris)
    state = clf.__getstate__()
    del state["hidden_layers"]
    old = MLPClassifier.__new__(MLPClassifier)
    old.__setstate__(copy.deepcopy(state))
    assert old.get_params() == clf.get_params() and old.hidden_layers is None
    assert_array_equal(old.transform(X_iris), clf.transform(X_iris))
    assert_same_parameters(old.partial_fit(X_iris, y_iris), clf.partial_fit(X_iris, y_iris))


def test_failed_training_changes_nothing(layers):
    clf = classifier(layers, warm_start=True).fit(X_iris, y_iris)
    before = clf.predict_proba(X_iris)
    bad = X_iris.copy()
    bad[7, 2] = np.nan
    for train in (clf.fit, clf.partial_fit):
        assert_unharmed(clf, partial(train, bad, y_iris), "Input X contains NaN")
    clf.set_params(solver=SGD(1e200))
    assert_unharmed(clf, partial(clf.fit, X_iris, y_iris), "non-finite")
    assert_array_equal(clf.predict_proba(X_iris), before)


def test_memory_mapped_model(layers, tmp_path):
    clf = classifier(layers).fit(X_iris, y_iris)
    joblib.dump(clf, tmp_path / "clf.joblib")
    loaded = joblib.load(tmp_path / "clf.joblib", mmap_mode="r")
    assert not loaded.coefs_[0].flags.writeable
    assert_array_equal(loaded.predict_proba(X_iris), clf.predict_proba(X_iris))
    assert np.shares_memory(loaded._model().parameters, loaded.coefs_[0]) and not loaded.coefs_[0].flags.writeable
    assert_array_equal(flat(loaded.partial_fit(X_iris, y_iris)), flat(clf.partial_fit(X_iris, y_iris)))


def test_training_further_needs_the_same_layers():
    layers = [Dense(8, "relu"), Residual([Dense(8)])]
    clf = classifier(layers, warm_start=True).fit(X_iris, y_iris)
    for other in ([Dense(8, "tanh"), Residual([Dense(8)])], layers[:1], [], None):
        clf.set_params(hidden_layers=other)
        for train in (clf.fit, clf.partial_fit):
            assert_unharmed(clf, lambda t=train: t(X_iris, y_iris), "is .*, but the network .* was fitted with")
        clf.predict(X_iris)  # the network is what it was
    by_numbers = MLPClassifier((8,), max_iter=2).fit(X_iris, y_iris)
    by_numbers.set_params(hidden_layers=layers, hidden_layer_sizes=(100,))
    further = partial(by_numbers.partial_fit, X_iris, y_iris)
    assert_unharmed(by_numbers, further, r"hidden_layers is .* fitted with \[8\]")

    clf.set_params(hidden_layers=tuple(layers))
    before = flat(clf).copy()
    clf.fit(X_iris, y_iris)
    assert (flat(clf) != before).any()
    layers.append(Dense(3))  # the list is the user's
    clf.partial_fit(X_iris, y_iris)
    clf.set_params(warm_start=False, hidden_layers=layers).fit(X_iris, y_iris)
    assert len(clf.coefs_) == 4


def test_warm_start_goes_on():
    clf = classifier(LISTS["residual"], warm_start=True, solver="lbfgs", max_iter=3).fit(X_iris, y_iris)
    losses = [clf.loss_]
    for _ in range(3):
        losses.append(clf.fit(X_iris, y_iris).loss_)
    assert losses == sorted(losses, reverse=True) and losses[-1] < 0.5 * losses[0]


def test_attributes_set_by_hand():
    a = classifier(LISTS["residual"]).fit(X_iris, y_iris)
    b = clone(a).set_params(random_state=1).fit(X_iris, y_iris)
    assert [None is v for v in b.intercepts_] == [False, False, False, True, False, False]
    expected = b.predict_proba(X_iris)
    for i, W in enumerate(b.coefs_):  # one by one
        a.coefs_[i] = W.copy()
    a.intercepts_ = [v if v is None else v.copy() for v in b.intercepts_]
    assert_array_equal(a.predict_proba(X_iris), expected)
    for est in (a, b):
        est.coefs_[2][:] = 0.1  # in place
        est.intercepts_[0] += 0.5
        est.set_params(random_state=0).partial_fit(X_iris, y_iris)
    assert (b.predict_proba(X_iris) != expected).any()
    assert a.coefs_[0] is a._model().weights[0]
    for attribute, value in (
        ("coefs_", a.coefs_[:-1]),
        ("coefs_", [a.coefs_[0].T, *a.coefs_[1:]]),
        ("intercepts_", [np.zeros_like(W[0]) for W in a.coefs_]),
    ):
        broken = copy.copy(a)
        setattr(broken, attribute, value)
        with pytest.raises(ValueError, match="coefs_ and intercepts_ must have the shapes"):
            broken.predict(X_iris)


def test_attributes_of_shared_weights():
    reg = regressor(LISTS["tied"]).fit(X_iris, X_iris)
    encoder, decoder, output = reg.coefs_
    assert encoder.shape == (4, 3) and decoder.shape == (3, 4) and output.shape == (4, 4)
    assert np.shares_memory(encoder, decoder)
    W = np.random.default_rng(0).normal(size=(3, 4))
    reg.coefs_[1] = W  # in one of its places
    code = np.tanh(X_iris @ W.T + reg.intercepts_[0])
    expected = np.tanh(code @ W + reg.intercepts_[1]) @ reg.coefs_[2] + reg.intercepts_[2]
    assert_allclose(reg.predict(X_iris), expected, rtol=1e-12, atol=1e-12)
    assert_array_equal(reg.coefs_[0], W.T)
    reg.coefs_[0], reg.coefs_[1] = W.T + 1, W
    with pytest.raises(ValueError, match="must hold the same in all places of shared weights"):
        reg.predict(X_iris)
    reg.coefs_[1] = W + 1
    reg.predict(X_iris)


def test_callbacks_get_fitted_copies():
    """scikit-learn makes them of copies of all weights, shared ones for each of their places."""
    pytest.importorskip("sklearn.callback")
    from fastbp.estimators.callbacks import _checkpoint

    reg = regressor(LISTS["tied"]).fit(X_iris, X_iris)
    other = copy.copy(reg)
    vars(other).update(_checkpoint(reg))
    assert not np.shares_memory(other.coefs_[0], other.coefs_[1])
    assert_array_equal(other.predict(X_iris), reg.predict(X_iris))


# What is refused


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"hidden_layer_sizes": (8,)}, "hidden_layers is in the place of hidden_layer_sizes"),
        ({"hidden_layer_sizes": (100, 100)}, "hidden_layers is in the place of hidden_layer_sizes"),
        ({"activation": "tanh"}, "hidden_layers is in the place of activation"),
        ({"dropout": 0.5}, "hidden_layers is in the place of dropout"),
        ({"dropout": [0.5]}, "hidden_layers is in the place of dropout"),
        ({"hidden_layers": Dense(4)}, "The 'hidden_layers' parameter of .* must be"),
        ({"hidden_layers": [8, 4]}, r"hidden_layers\[0\] must be a layer, got 8"),
        ({"hidden_layers": [Dense(4), Dense]}, r"hidden_layers\[1\] must be a layer, got <class"),
        ({"hidden_layers": [Parallel({"a": [Dense(4)]})]}, r"hidden_layers\[0\] must have no heads"),
        ({"hidden_layers": [Residual([Dense(5)])]}, r"layers\[0\] must have as many units at its end"),
        ({"hidden_layers": [Transposed("there is none")]}, r"layers\[0\] is Transposed"),
    ],
)
@pytest.mark.parametrize("make, y", [(classifier, y_iris), (regressor, X_iris[:, :2])])
def test_what_is_refused(make, y, settings, message):
    est = make([Dense(4, "relu")]).set_params(**settings)
    assert_unharmed(est, lambda: est.fit(X_iris, y), message)
    classes = {"classes": [0, 1, 2]} if make is classifier else {}
    assert_unharmed(est, lambda: est.partial_fit(X_iris, y, **classes), message)


def test_defaults_may_be_said():
    """Whichever way the default sizes are written."""
    for sizes in ((100,), [100], 100, np.array([100])):
        est = classifier([Dense(4)]).set_params(hidden_layer_sizes=sizes, activation="relu", dropout=0.0)
        assert len(est.fit(X_iris, y_iris).coefs_) == 2
    assert parameters(est).size == 4 * 4 + 4 + 4 * 3 + 3


# ---- categories -----------------------------------------------------------------------------------------------------


def categories(rng, n=400, dtype=float):
    """Two columns of categories, of which y is no sum, and one of numbers."""
    X = np.column_stack([rng.integers(0, 6, n), rng.normal(size=n), rng.integers(0, 4, n)])
    return X.astype(dtype), np.array(["no", "yes"])[(X[:, 0] + X[:, 2]).astype(int) % 2]


EMBED = [Embed({0: 6, 2: 4}, dim=3), Dense(16, "relu")]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.uint8, object])
def test_categories_are_learnt(rng, dtype):
    X, y = categories(rng, dtype=dtype)
    clf = MLPClassifier(hidden_layers=EMBED, max_iter=60, learning_rate_init=0.01, random_state=0).fit(X, y)
    assert clf.score(X, y) > 0.98 and not get_tags(clf).input_tags.sparse
    assert [W.shape for W in clf.coefs_[:2]] == [(6, 3), (4, 3)] and clf.intercepts_[0] is None
    assert clf.transform(X, layer=0).shape == (400, 7)
    for other in (clone(clf).fit(X, y), pickle.loads(pickle.dumps(clf)), copy.deepcopy(clf)):
        assert_array_equal(other.predict_proba(X), clf.predict_proba(X))
    assert_array_equal(clf.predict(X[:1]), clf.predict(X)[:1])


def test_categories_in_a_data_frame(rng):
    pd = pytest.importorskip("pandas")
    X, y = categories(rng)
    frame = pd.DataFrame({"a": X[:, 0].astype(int), "b": X[:, 1], "c": X[:, 2].astype(np.int8)})
    a, b = (MLPClassifier(hidden_layers=EMBED, max_iter=5, random_state=0).fit(data, y) for data in (X, frame))
    assert_array_equal(a.predict_proba(X), b.predict_proba(frame))


def test_what_is_no_category_leaves_the_estimator_as_it_was(rng):
    X, y = categories(rng)
    bad = X.copy()
    bad[7, 2] = 4
    plain, stopping = (
        MLPClassifier(hidden_layers=EMBED, max_iter=5, random_state=0, early_stopping=early).fit(X, y)
        for early in (False, True)
    )
    for clf, call in (
        (plain, lambda: plain.fit(bad, y)), (plain, lambda: plain.partial_fit(bad, y)),
        (plain, lambda: plain.predict(bad)), (plain, lambda: plain.transform(bad)),
        (plain, lambda: plain.score(bad, y)), (stopping, lambda: stopping.fit(bad, y)),
        (stopping, lambda: stopping.fit(X, y, X_val=bad, y_val=y)),
    ):  # fmt: skip
        message = "X must hold integers from 0 to 3 in column 2, which Embed takes for categories, got 4.0 in row 7"
        assert_unharmed(clf, call, message)


def test_categories_in_a_loop(rng):
    """The short way of `partial_fit` does what the long one does, and looks at X too."""
    X, y = categories(rng, 64)
    quick, slow = (MLPClassifier(hidden_layers=EMBED, random_state=0) for _ in range(2))
    for _ in range(5):
        quick.partial_fit(X, y, classes=["no", "yes"])
        slow.partial_fit(X.tolist(), y.tolist(), classes=["no", "yes"])
    assert_same_parameters(quick, slow)
    before = parameters(quick)
    X[3, 0] = np.nextafter(1, 2)
    with pytest.raises(ValueError, match="X must hold integers from 0 to 5 in column 0, .* got 1.0000000000000002 in"):
        quick.partial_fit(X, y)
    assert_array_equal(parameters(quick), before)


def test_search_over_tables(rng):
    X, y = categories(rng)
    search = GridSearchCV(
        MLPClassifier(hidden_layers=EMBED, max_iter=30, random_state=0), {"hidden_layers__0__dim": [1, 4]}, cv=2
    ).fit(X, y)
    assert search.best_estimator_.hidden_layers[0].dim in (1, 4)
