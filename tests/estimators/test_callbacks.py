"""scikit-learn's callbacks."""

import copy
import warnings

import numpy as np
import pandas as pd
import pytest
from estimator_cases import (
    X_iris,
    X_reg,
    assert_same_parameters,
    classifier,
    names_iris,
    parameters,
    regressor,
    y_iris,
    y_reg,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from fastbp import LBFGS, Newton, NewtonCG, Rprop

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

try:
    import sklearn.callback as callback
except ImportError:
    callback = None
needs_callbacks = pytest.mark.skipif(callback is None, reason="this scikit-learn has no callbacks")


class Recorder:
    """A callback that keeps what it is told, and asks to stop after `stop_after` epochs."""

    def __init__(self, stop_after=None, fail_after=None):
        self.stop_after, self.fail_after = stop_after, fail_after
        self.begun, self.ended, self.models, self.log = 0, 0, [], []

    def setup(self, estimator, context):
        self.log.append("setup")

    def teardown(self, estimator, context):
        self.log.append("teardown")

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None, metadata=None):
        if context.parent is None:
            self.root = context
        else:
            self.begun += 1
            assert self.begun == self.ended + 1
        self.data = X, y, metadata

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        if context.parent is None:
            self.log.append("end")
            return False
        self.ended += 1
        self.models.append(fitted_estimator)
        if self.ended == self.fail_after:
            raise RuntimeError("callback failed")
        return self.ended == self.stop_after


@needs_callbacks
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs", Rprop(), Newton(), NewtonCG(), LBFGS()], ids=str)
@pytest.mark.parametrize("make, y", [(classifier, names_iris), (regressor, X_iris[:, 0] * 2)])
def test_callbacks(make, y, solver):
    recorder = Recorder()
    weight = np.linspace(1, 2, 150)
    estimator = make(solver=solver).set_callbacks(recorder).fit(X_iris, y, weight)
    assert recorder.log == ["setup", "end", "teardown"]
    assert recorder.root.task_name == "fit" and recorder.root.max_subtasks == 5
    assert recorder.begun == recorder.ended == estimator.n_iter_ == 5
    X, y_seen, metadata = recorder.data
    assert X is X_iris and y_seen is y and metadata["sample_weight"] is weight
    for k, model in enumerate(recorder.models, start=1):
        expected = make(solver=solver, max_iter=k).fit(X_iris, y, weight)
        assert_same_parameters(model, expected)
        np.testing.assert_array_equal(model.predict(X_iris), expected.predict(X_iris))
    assert_same_parameters(recorder.models[-1], estimator)
    if solver in ("adam", "sgd"):  # a model that was handed out can be trained further
        second = make(solver=solver, max_iter=2).fit(X_iris, y, weight).partial_fit(X_iris, y)
        assert_same_parameters(recorder.models[1].partial_fit(X_iris, y), second)
        assert recorder.models[1].loss_curve_ == second.loss_curve_


@needs_callbacks
@pytest.mark.parametrize("solver", ["adam", "lbfgs", Rprop(), Newton(), LBFGS()], ids=str)
def test_callback_stops(solver):
    recorder = Recorder(stop_after=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        clf = classifier(solver=solver, max_iter=50).set_callbacks(recorder).fit(X_iris, y_iris)
    assert clf.n_iter_ == recorder.ended == 3 and not clf.converged_
    assert recorder.log == ["setup", "end", "teardown"]
    assert_same_parameters(clf, classifier(solver=solver, max_iter=3).fit(X_iris, y_iris))


@needs_callbacks
@pytest.mark.parametrize("solver", ["adam", "lbfgs", Rprop(), LBFGS()], ids=str)
@pytest.mark.parametrize("warm_start", [False, True])
def test_failing_callback(solver, warm_start):
    clf = classifier(solver=solver, warm_start=warm_start).fit(X_iris, y_iris)
    recorder = Recorder(fail_after=2)
    state = parameters(clf).copy(), {k: copy.deepcopy(v) for k, v in vars(clf).items()}
    with pytest.raises(RuntimeError, match="callback failed"):
        clf.set_callbacks(recorder).fit(X_iris, y_iris)
    assert recorder.log == ["setup", "teardown"]
    np.testing.assert_array_equal(parameters(clf), state[0])
    assert set(vars(clf)) - {"_skl_callbacks"} == set(state[1])
    assert clf.n_iter_ == 5


@needs_callbacks
def test_callbacks_of_partial_fit_and_early_stopping():
    recorder = Recorder()
    clf = classifier(early_stopping=True, max_iter=4).set_callbacks(recorder)
    clf.fit(X_iris, names_iris)
    assert recorder.ended == 4
    for k in range(3):
        clf.partial_fit(X_iris, names_iris, X_val=X_iris, y_val=names_iris)
        assert recorder.root.max_subtasks == 1
        assert recorder.ended == 5 + k


@needs_callbacks
def test_scoring_monitor():
    monitor = callback.ScoringMonitor(scoring="accuracy")
    frame = pd.DataFrame(X_iris, columns=["a", "b", "c", "d"])
    clf = classifier(max_iter=8, learning_rate_init=0.05).set_callbacks(monitor)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        clf.fit(frame, names_iris)
    log = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    scores = [
        classifier(max_iter=k, learning_rate_init=0.05)
        .fit(frame, names_iris)
        .score(frame, names_iris)
        for k in range(1, 9)
    ]
    assert [row["accuracy"] for row in log] == scores
    assert scores[-1] > scores[0]


@needs_callbacks
def test_progress_bar(capfd):
    pytest.importorskip("rich")
    monitor = callback.ScoringMonitor(scoring="r2")
    regressor().set_callbacks(callback.ProgressBar(), monitor).fit(X_reg, y_reg)
    assert "MLPRegressor - fit" in capfd.readouterr().out
    grid = GridSearchCV(classifier(), {"alpha": [0.1, 1]}, cv=2)
    grid.set_callbacks(callback.ProgressBar()).fit(X_iris, y_iris)
    assert "GridSearchCV - fit" in capfd.readouterr().out


@needs_callbacks
def test_no_callback_no_cost(monkeypatch):
    def forbidden(*args, **kwargs):
        raise AssertionError("called without callbacks")

    monkeypatch.setattr(callback.CallbackContext, "subcontext", forbidden)
    monkeypatch.setattr(callback.CallbackContext, "_call_hooks", forbidden)
    for solver in ("adam", "lbfgs"):
        assert classifier(solver=solver).fit(X_iris, y_iris).n_iter_ == 5
