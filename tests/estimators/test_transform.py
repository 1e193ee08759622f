"""Hidden layers' outputs as features."""

import pickle

import numpy as np
import pandas as pd
import pytest
from estimator_cases import X_digits, X_iris, X_reg, assert_unharmed, classifier, regressor, y_digits, y_iris, y_reg
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from fastbp import (
    RBF,
    Activation,
    Dense,
    Dropout,
    MLPClassifier,
    MLPRegressor,
    Network,
    Parallel,
    Residual,
    Shared,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

MIXED = [
    Parallel([[], [Dense(6, "relu", dropout=0.5)]]),
    Dropout(0.2),
    Residual([Dense(5, "tanh")], projection="linear"),
    RBF(7),
    Activation("relu"),
]


@pytest.fixture
def mixed():
    return MLPClassifier(hidden_layers=MIXED, max_iter=3, random_state=0).fit(X_iris, y_iris)


def network_of(estimator):
    """A network with the same parameters."""
    model = estimator._model()
    net = Network(model.layers, n_inputs=model.n_inputs, dtype=model.dtype, loss=model.loss)
    net.parameters[:] = model.parameters
    return net


def test_chain():
    clf = MLPClassifier((8, 5), activation="tanh", dropout=0.5, max_iter=3, random_state=0).fit(X_iris, y_iris)
    first = np.tanh(X_iris @ clf.coefs_[0] + clf.intercepts_[0])
    last = np.tanh(first @ clf.coefs_[1] + clf.intercepts_[1])
    assert_allclose(clf.transform(X_iris), last, rtol=1e-12)
    for layer in (0, -2, np.int64(0), "0"):
        assert_allclose(clf.transform(X_iris, layer), first, rtol=1e-12)
    for layer in (1, -1, "1"):
        assert_array_equal(clf.transform(X_iris, layer=layer), clf.transform(X_iris))
    assert_allclose(clf.predict_log_proba(X_iris), np.log(clf.predict_proba(X_iris)), rtol=1e-9)
    clf.coefs_[0][:] = 0  # what is written to them counts
    clf.intercepts_[0] = np.ones(8)
    assert_allclose(clf.transform(X_iris, 0), np.tanh(1), rtol=1e-12)


def test_any_layer_by_index_and_by_name(mixed):
    expected = network_of(mixed).activations(X_iris)
    assert len(expected) == 9 and "2.projection" in expected
    for name, (_, a) in expected.items():
        if name != "5":
            assert_array_equal(mixed.transform(X_iris, name), a)
    for i in range(5):
        for layer in (i, i - 5):
            assert_array_equal(mixed.transform(X_iris, layer), expected[str(i)].a)
    assert mixed.transform(X_iris).shape == (150, 7)


def test_dtypes_threads_and_sparse_rows():
    for dtype in ("float32", "float64"):
        X = X_digits.astype(dtype)
        clf = MLPClassifier(hidden_layers=[Dense(40, "relu"), Residual([Dense(40)])], max_iter=2, random_state=0)
        a = clf.fit(X, y_digits).transform(X)
        assert a.dtype == dtype and a.flags.c_contiguous and a.flags.writeable
        for n_threads in (1, 3):
            assert_array_equal(clf.set_params(n_threads=n_threads).transform(X), a)
        assert_array_equal(clf.transform(csr_array(X)), a)
        assert_array_equal(clf.transform(X.astype(np.uint8)), a)
        assert_allclose(clf.transform(X[:1]), a[:1], rtol=1e-4)
        assert_array_equal(pickle.loads(pickle.dumps(clf)).transform(X), a)
        a[:] = 0  # a copy
        assert clf.transform(X).any()


def test_only_up_to_the_layer():
    """What comes after it is not even looked at."""
    reg = MLPRegressor(hidden_layer_sizes=(5, 6), max_iter=2, random_state=0).fit(X_reg, y_reg)
    model = reg._model()
    before = reg.transform(X_reg, 0)
    model.parameters[model.weights[0].size + 5 :] = np.nan
    assert_array_equal(reg.transform(X_reg, 0), before)
    assert np.isnan(reg.transform(X_reg, 1)).all()
    assert [value.name for value in model.graph.values] == ["X", "0", "1", "2"]


def test_transformer_of_labels():
    """Fitted to y, as a step of a pipeline: what the next step gets."""
    pipe = make_pipeline(classifier(max_iter=50), LogisticRegression()).fit(X_iris, y_iris)
    alone = classifier(max_iter=50)
    features = alone.fit_transform(X_iris, y_iris)
    assert_array_equal(features, alone.transform(X_iris))
    assert_array_equal(pipe[:-1].transform(X_iris), features)
    assert pipe.score(X_iris, y_iris) > 0.9
    assert list(pipe[:-1].get_feature_names_out()) == [f"mlpclassifier{i}" for i in range(8)]


def test_pipelines_hand_the_layer_down():
    """By scikit-learn's metadata routing."""
    with config_context(enable_metadata_routing=True):
        clf = MLPClassifier((7, 5), max_iter=5, random_state=0).set_transform_request(layer=True)
        pipe = make_pipeline(clf, LogisticRegression()).fit(X_iris, y_iris)
        assert_array_equal(pipe[:-1].transform(X_iris, layer=0), pipe[0].transform(X_iris, layer=0))
        assert pipe[:-1].transform(X_iris, layer=0).shape == (150, 7)
        assert pipe[:-1].transform(X_iris).shape == (150, 5)


def test_autoencoder_in_a_pipeline():
    X = X_digits / 16
    code = Shared(Dense(20, "tanh"))
    auto = MLPRegressor(hidden_layers=[code, code.transposed()], max_iter=60, random_state=0, learning_rate_init=0.01)
    error = np.square(auto.fit(X, X).predict(X) - X).sum()
    assert error < 0.2 * np.square(X - X.mean(axis=0)).sum()
    encode = FunctionTransformer(auto.transform, kw_args={"layer": 0})
    pipe = make_pipeline(encode, LogisticRegression(max_iter=1000)).fit(X, y_digits)
    assert pipe.score(X, y_digits) > 0.95
    assert pipe[0].transform(X).shape == (500, 20)

    plain = MLPRegressor(hidden_layers=[Dense(40, "relu"), Dense(20, "tanh")], max_iter=60, random_state=0).fit(X, X)
    pipe = make_pipeline(FrozenEstimator(plain), LogisticRegression(max_iter=1000))
    grid = GridSearchCV(pipe, {"logisticregression__C": [0.01, 10]}, cv=3).fit(X, y_digits)
    assert grid.best_params_ == {"logisticregression__C": 10}
    assert_array_equal(grid.best_estimator_[0].transform(X), plain.transform(X))


def test_names_and_data_frames():
    frame = pd.DataFrame(X_iris).add_prefix("x")
    reg = regressor().fit(frame, y_iris)
    names = [f"mlpregressor{i}" for i in range(8)]
    assert list(reg.get_feature_names_out()) == list(reg.get_feature_names_out(frame.columns)) == names
    values = reg.transform(frame)
    reg.set_output(transform="pandas")
    result = reg.transform(frame)
    assert list(result.columns) == names and result.index.equals(frame.index)
    assert_array_equal(result, values)
    assert_array_equal(clone(reg).fit_transform(frame, y_iris), values)
    assert isinstance(pickle.loads(pickle.dumps(reg)).transform(frame), pd.DataFrame)
    assert isinstance(reg.predict(frame), np.ndarray)
    two = regressor().set_params(hidden_layer_sizes=(3, 5)).fit(frame, y_iris).set_output(transform="pandas")
    assert two.transform(frame).shape == (150, 5)
    with pytest.raises(ValueError, match="3 elements"):  # the names are of the last hidden layer
        two.transform(frame, layer=0)


@pytest.mark.parametrize("layer", [1, -2, "1", "2", "", None, True, 0.0, "X"])
def test_unknown_layers(layer):
    clf = classifier().fit(X_iris, y_iris)
    message = r"layer must be an index of one of the 1 hidden layers, or one of the names \['0'\], got "
    assert_unharmed(clf, lambda: clf.transform(X_iris, layer), message + repr(layer))


@pytest.mark.parametrize("settings", [{"hidden_layers": []}, {"hidden_layer_sizes": ()}])
def test_without_hidden_layers(settings):
    reg = MLPRegressor(max_iter=2, **settings).fit(X_reg, y_reg)
    assert_unharmed(reg, lambda: reg.transform(X_reg), "layer must be an index of one of the 0 hidden layers")
    with pytest.raises(NotFittedError):
        reg.get_feature_names_out()
    assert "MLPRegressor" in reg._repr_html_()


@pytest.mark.parametrize("make", [MLPClassifier, MLPRegressor])
def test_bad_input(make):
    est = make(max_iter=2)
    with pytest.raises(NotFittedError):
        est.transform(X_iris)
    with pytest.raises(NotFittedError):
        est.get_feature_names_out()
    est.fit(X_iris, y_iris)
    bad = X_iris.copy()
    bad[3, 1] = np.inf
    assert_unharmed(est, lambda: est.transform(bad), "infinity")
    assert_unharmed(est, lambda: est.transform(X_iris[:, :3]), "3 features")
    assert_unharmed(est, lambda: est.transform(X_iris.astype(str)), "strings")
    radial = make(hidden_layers=[RBF(3)], max_iter=2).fit(X_iris, y_iris)
    assert_unharmed(radial, lambda: radial.transform(csr_array(X_iris)), "X must be dense")
