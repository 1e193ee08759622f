"""scikit-learn's contract: its checks, its signatures, its documentation."""

import inspect

import pandas as pd
import pytest
import sklearn.neural_network
from estimator_cases import X_iris, classifier, regressor, y_iris
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastbp import RBF, Activation, Dense, Residual, Rprop, Shared, SoftmaxCrossEntropy
from fastbp.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CODE = Shared(Dense(4, "tanh"), name="code")


@parametrize_with_checks(
    [
        MLPClassifier(),
        MLPRegressor(),
        MLPClassifier(solver="lbfgs", max_iter=30, l1_ratio=0.5),
        MLPRegressor(solver="sgd"),
        MLPClassifier(loss="squared_error", solver=Rprop(), max_iter=30),
        MLPClassifier(loss=SoftmaxCrossEntropy(label_smoothing=0.1)),
        MLPRegressor(loss="gaussian"),
        MLPClassifier(hidden_layers=[Dense(16, "relu"), Residual([Activation("tanh"), Dense(16)])]),
        MLPRegressor(hidden_layers=[Dense(8), CODE, CODE.transposed("tanh")], solver="lbfgs", max_iter=50),
        MLPRegressor(hidden_layers=[RBF(20)], learning_rate_init=0.05),
    ]
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("ours", [MLPClassifier, MLPRegressor])
def test_signature(ours):
    """scikit-learn's parameters in its order, then keyword-only ones."""
    theirs = getattr(sklearn.neural_network, ours.__name__)
    for method in ("__init__", "fit", "partial_fit"):
        our = list(inspect.signature(getattr(ours, method)).parameters.values())
        their = list(inspect.signature(getattr(theirs, method)).parameters.values())
        assert [str(p.replace(annotation=p.empty)) for p in our[: len(their)]] == [str(p) for p in their]
        assert all(p.kind is p.KEYWORD_ONLY for p in our[len(their) :])
    names = set(ours().get_params())
    beyond = {"l1_ratio", "class_weight", "n_threads", "dropout", "loss", "hidden_layers", "average", "prune"}
    assert names - set(theirs().get_params()) <= beyond
    assert ours().loss == theirs().loss


@pytest.mark.parametrize("estimator", [MLPClassifier(), MLPRegressor()])
def test_everything_is_documented(estimator):
    assert not [p for p in estimator.get_params() if f"    {p} :" not in estimator.__doc__]
    fitted = (
        clone(estimator).set_params(max_iter=1).fit(pd.DataFrame(X_iris).add_prefix("x"), y_iris)
    )
    public = [name for name in vars(fitted) if name.endswith("_") and name[0] != "_"]
    assert {"coefs_", "feature_names_in_", "validation_loss_curve_"} <= set(public)
    assert not [name for name in public if f"    {name} :" not in estimator.__doc__]


def test_clone_is_unfitted():
    clf = classifier(l1_ratio=0.3, class_weight={0: 2, 1: 1, 2: 1}, n_threads=1)
    twin = clone(clf.fit(X_iris, y_iris))
    assert set(vars(twin)) == set(clf.get_params()) == set(twin.get_params())
    assert twin.get_params() == clf.get_params()


def test_warnings_point_to_the_caller():
    for estimator in (classifier(batch_size=1000), regressor(batch_size=1000)):
        for train in (estimator.fit, estimator.partial_fit):
            with pytest.warns(UserWarning, match="Got `batch_size` less than 1") as caught:
                train(X_iris, y_iris)
            assert {w.filename for w in caught} == {__file__}
