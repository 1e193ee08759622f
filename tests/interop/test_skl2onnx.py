"""Estimators in ONNX through skl2onnx: what `predict`, `predict_proba` and `transform` give, alone and in pipelines."""

import warnings

import numpy as np
import pytest
from estimator_cases import X_iris, X_multi, X_reg, Y_multi, classifier, names_iris, regressor, y_iris, y_reg
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import BaggingClassifier, StackingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

from fastbp import (
    BatchNorm,
    Dense,
    Embed,
    HistogramLoss,
    MLPClassifier,
    Quantile,
    Residual,
    SoftmaxCrossEntropy,
    Whitening,
)

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
skl2onnx = pytest.importorskip("skl2onnx")

import fastbp.onnx  # noqa: E402, F401

pytestmark = [pytest.mark.once, pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")]

Y_reg = np.column_stack([y_reg, -y_reg, y_reg**2])
X_iris32, X_reg32, X_multi32 = (X.astype("float32") for X in (X_iris, X_reg, X_multi))
LABELS = {
    "int": y_iris, "str": names_iris, "bool": y_iris > 0, "two str": np.where(y_iris > 0, "a", "b"),
    "float": y_iris.astype(float),
}  # fmt: skip
NO_ZIPMAP = {"zipmap": False}


def run(estimator, X, **settings):
    """What ONNX Runtime makes of X, with the names of outputs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of onnx, for what skl2onnx calls
        model = skl2onnx.to_onnx(estimator, X[:1], **settings)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    declared = {output.name: output.shape for output in session.get_outputs()}
    found = dict(zip(declared, session.run(None, {"X": X}), strict=True))
    for name, shape in declared.items():  # what shape calculators say is so
        if isinstance(found[name], np.ndarray):
            assert list(found[name].shape)[1:] == shape[1:], name
    return found


def assert_same_classes(clf, X, **options):
    found = run(clf, X, options={id(clf): NO_ZIPMAP | options})
    assert_array_equal(found["label"], clf.predict(X))
    assert_allclose(found["probabilities"], clf.predict_proba(X), rtol=1e-5, atol=1e-5)
    assert found["probabilities"].dtype == X.dtype


# ---- classifier -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("X", [X_iris32, X_iris], ids=["float32", "float64"])
@pytest.mark.parametrize("y", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize(
    "loss", ["log_loss", "cross_entropy", "squared_error", SoftmaxCrossEntropy(0.1, fixed_logit=True)], ids=str
)
def test_classes(loss, y, X):
    assert_same_classes(classifier(loss=loss).fit(X, y), X)


@pytest.mark.parametrize("loss", ["log_loss", "squared_error"])
@pytest.mark.parametrize("n_labels", [2, 4])
def test_several_labels(loss, n_labels):
    assert_same_classes(classifier(loss=loss, max_iter=30).fit(X_multi32, Y_multi[:, :n_labels]), X_multi32)


@pytest.mark.parametrize("y", [y_iris, names_iris], ids=["int", "str"])
def test_options_of_labels(y):
    """As of scikit-learn's own classifier."""
    ours, theirs = classifier().fit(X_iris32, y), TheirClassifier(8, max_iter=5, random_state=0).fit(X_iris32, y)
    for options in ({}, {"zipmap": "columns"}, {"zipmap": False}, {"zipmap": False, "output_class_labels": True}):
        found = run(ours, X_iris32, options={id(ours): options})
        if "output_class_labels" in options:  # skl2onnx has no such option for its own
            assert_array_equal(found["class_labels"], ours.classes_)
            continue
        expected = run(theirs, X_iris32, options={id(theirs): options})
        assert [*found] == [*expected]
        for a, b in zip(found.values(), expected.values(), strict=True):
            if isinstance(a, list):
                assert [list(row) for row in a] == [list(row) for row in b]
                a, b = ([list(row.values()) for row in rows] for rows in (a, b))
            if np.asarray(a).dtype.kind == "f":
                assert_allclose(a, b, rtol=1e-4, atol=1e-5)
            else:
                assert_array_equal(a, b)
                assert np.asarray(a).dtype == np.asarray(b).dtype
    found = run(ours, X_iris32, options={id(ours): {"nocl": True, "zipmap": False}})
    assert_array_equal(ours.classes_[found["label"]], ours.predict(X_iris32))


def test_shares_of_outputs_that_are_all_zero():
    clf = classifier(loss="squared_error").fit(X_iris32, y_iris)
    clf.intercepts_[-1][:] = -1000
    found = run(clf, X_iris32, options={id(clf): NO_ZIPMAP})
    assert_allclose(found["probabilities"], np.full((len(X_iris), 3), 1 / 3), rtol=1e-6)


def test_one_class():
    with pytest.raises(ValueError, match="at least two classes for ONNX, got .7"):
        run(classifier().fit(X_iris32, np.full(len(X_iris), 7)), X_iris32)


def test_integer_inputs():
    X = np.round(X_iris * 2).astype(np.int64)
    clf = classifier().fit(X.astype(np.float32), y_iris)
    found = run(clf, X, options={id(clf): NO_ZIPMAP})
    assert_allclose(found["probabilities"], clf.predict_proba(X), rtol=1e-5, atol=1e-5)


# ---- regressor ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("X", [X_reg32, X_reg], ids=["float32", "float64"])
@pytest.mark.parametrize("y", [y_reg, Y_reg], ids=["one", "three"])
@pytest.mark.parametrize(
    "loss", ["squared_error", "absolute_error", "huber", "poisson", "quantile", Quantile([0.1, 0.5, 0.9]), "gaussian"],
    ids=str,
)  # fmt: skip
def test_regressor(loss, y, X):
    reg = regressor(loss=loss).fit(X, abs(y))
    expected = reg.predict(X)
    found = run(reg, X)["variable"]
    assert found.dtype == X.dtype
    assert_allclose(found, expected if expected.ndim > 1 else expected[:, np.newaxis], rtol=1e-5, atol=1e-5)
    if loss == "gaussian":
        found, (mean, std) = run(reg, X, options={id(reg): {"return_std": True}}), reg.predict(X, return_std=True)
        for a, b in ((found["variable"], mean), (found["std"], std)):
            assert_allclose(a, b.reshape(len(X), -1), rtol=1e-5, atol=1e-5)


def test_histogram():
    loss = HistogramLoss(tuple(np.linspace(y_reg.min(), y_reg.max(), 9)))
    reg = regressor(loss=loss).fit(X_reg32, y_reg)
    assert_allclose(run(reg, X_reg32)["variable"][:, 0], reg.predict(X_reg32), rtol=1e-5, atol=1e-5)


def test_return_std_needs_gaussian():
    reg = regressor().fit(X_reg32, y_reg)
    with pytest.raises(ValueError, match="return_std must be False unless loss='gaussian', got True with 'squared"):
        run(reg, X_reg32, options={id(reg): {"return_std": True}})


# ---- pipelines ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["pca", "zca", "cholesky"])
def test_whitening(method):
    for X in (X_reg32, X_reg):
        whitening = Whitening(method).fit(X + 10)
        assert_allclose(run(whitening, X + 10)["variable"], whitening.transform(X + 10), rtol=1e-5, atol=2e-5)


def test_hidden_layers():
    layers = [Dense(8, "mish"), Residual([BatchNorm(), Dense(8, "gelu"), Dense(8)])]
    X = np.column_stack([X_iris32, y_iris]).astype(np.float32)
    clf = MLPClassifier(max_iter=5, random_state=0, hidden_layers=[Embed({4: 3}, dim=2), *layers])
    assert_same_classes(clf.fit(X, names_iris), X)


def test_a_pipeline():
    pipe = make_pipeline(StandardScaler(), Whitening("zca"), classifier()).fit(X_iris32 * 3 + 1, names_iris)
    X = X_iris32 * 3 + 1
    found = run(pipe, X, options={id(pipe): NO_ZIPMAP})
    assert_array_equal(found["label"], pipe.predict(X))
    assert_allclose(found["probabilities"], pipe.predict_proba(X), rtol=1e-5, atol=1e-5)
    found = run(pipe, X)
    assert_allclose([list(row.values()) for row in found["output_probability"]], pipe.predict_proba(X), atol=1e-5)
    assert [*found["output_probability"][0]] == pipe[-1].classes_.tolist()


def test_estimators_that_transform_in_a_pipeline():
    pipe = make_pipeline(StandardScaler(), regressor(), StandardScaler(), regressor(), LinearRegression())
    pipe.fit(X_reg32, y_reg)
    assert_allclose(run(pipe, X_reg32)["variable"][:, 0], pipe.predict(X_reg32), rtol=1e-5, atol=1e-5)
    layers = [Dense(5, "tanh"), Residual([Dense(5)])]
    clf = MLPClassifier(max_iter=5, random_state=0, hidden_layers=layers)
    pipe = make_pipeline(clf, LogisticRegression()).fit(X_iris32, y_iris)
    found = run(pipe, X_iris32, options={id(pipe): NO_ZIPMAP})
    assert_allclose(found["probabilities"], pipe.predict_proba(X_iris32), rtol=1e-5, atol=1e-5)


def test_estimators_that_transform_beside_others():
    """In unions, for columns, and as the end of a pipeline that is part of one."""
    union = make_union(StandardScaler(), make_pipeline(StandardScaler(), regressor()), classifier())
    columns = make_column_transformer((regressor(), [0, 2, 4]), (StandardScaler(), slice(1, 4)), ("drop", [5]))
    for transformer in (union, columns):
        pipe = make_pipeline(transformer, regressor()).fit(X_reg32, y_reg > 0)
        assert_allclose(run(pipe, X_reg32)["variable"][:, 0], pipe.predict(X_reg32), rtol=1e-5, atol=1e-5)


def test_the_best_of_a_search():
    search = GridSearchCV(regressor(), {"hidden_layer_sizes": [3, 4]}, cv=2).fit(X_reg32, y_reg)
    assert_allclose(run(search, X_reg32)["variable"][:, 0], search.predict(X_reg32), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("ensemble", [
    StackingClassifier([("a", classifier()), ("b", classifier(activation="tanh"))]), OneVsRestClassifier(classifier()),
    BaggingClassifier(classifier(), 2, random_state=0), CalibratedClassifierCV(classifier(), cv=2),
], ids=lambda ensemble: type(ensemble).__name__)  # fmt: skip
def test_ensembles(ensemble):
    ensemble.fit(X_iris32, y_iris)
    found = run(ensemble, X_iris32, options={id(ensemble): NO_ZIPMAP})
    assert_allclose(found["probabilities"], ensemble.predict_proba(X_iris32), rtol=1e-5, atol=1e-5)


def test_target_opset():
    clf = classifier().fit(X_iris32, y_iris)
    found = run(clf, X_iris32, options={id(clf): NO_ZIPMAP}, target_opset=13)
    assert_allclose(found["probabilities"], clf.predict_proba(X_iris32), rtol=1e-5, atol=1e-5)
    with pytest.raises(RuntimeError, match="target_opset must be at least 13, got 12"):
        run(clf, X_iris32, target_opset=12)
    with pytest.raises(RuntimeError, match="Gelu"):
        run(classifier(activation="gelu").fit(X_iris32, y_iris), X_iris32, target_opset=19)
