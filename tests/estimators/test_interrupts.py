"""Ctrl-C, and memory that runs out, at any moment."""

import copy
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from estimator_cases import X_iris, classifier, parameters, regressor, y_iris

from fastbp import EMA, LBFGS, NewtonCG, Rprop
from fastbp.estimators import fitted
from fastbp.network import Model
from fastbp.network.start import draw

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture
def no_gc_callbacks():
    """An exception that is raised in a callback of the garbage collector is lost, and hypothesis has one."""
    callbacks = gc.callbacks.copy()
    gc.callbacks.clear()
    yield
    gc.callbacks[:] = callbacks


@pytest.mark.usefixtures("no_gc_callbacks")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs signals")
@pytest.mark.parametrize(
    "settings",
    [
        {"solver": "adam", "tol": 0, "n_iter_no_change": np.inf},
        {"solver": "sgd", "tol": 0, "early_stopping": True, "n_iter_no_change": np.inf},
        {"solver": "adam", "tol": 0, "n_iter_no_change": np.inf, "average": EMA(0.9)},
        {"solver": "lbfgs", "tol": 0, "max_fun": 10**9},
        {"solver": "lbfgs", "tol": 0, "max_fun": 10**9, "l1_ratio": 0.5},
        {"solver": Rprop(), "tol": 0, "n_iter_no_change": np.inf},
        {"solver": NewtonCG(gtol=0)},
        {"solver": LBFGS(ftol=0, gtol=0), "l1_ratio": 0.5},
    ],
)
@pytest.mark.parametrize("make", [classifier, regressor])
def test_interrupt(make, settings, monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20_000, 30))
    y = rng.integers(0, 2, 20_000)
    estimator = make(max_iter=10**6, **settings).set_params(hidden_layer_sizes=(300, 300))
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))

    def draw_and_start(*args):
        draw(*args)
        timer.start()  # training comes next, however long it took to get here

    try:
        with monkeypatch.context() as patch, pytest.warns(UserWarning, match="Training interrupted by user."):
            patch.setattr(fitted, "draw", draw_and_start)
            estimator.fit(X, y)
    finally:
        timer.cancel()
    assert np.isfinite(parameters(estimator)).all()
    assert estimator.predict(X[:10]).shape == (10,)
    assert not estimator.converged_ and estimator.n_iter_ < 10**6
    estimator.set_params(max_iter=1, max_fun=2, hidden_layer_sizes=2).fit(X[:100], y[:100])


@pytest.mark.usefixtures("no_gc_callbacks")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs signals")
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("make", [classifier, regressor])
def test_interrupt_of_partial_fit(make, early_stopping):
    """It ends a loop of calls, and leaves what was learnt."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20_000, 30)), rng.integers(0, 2, 20_000)
    more = {"classes": [0, 1]} if make is classifier else {}
    if early_stopping:
        more |= {"X_val": X, "y_val": y}
    est = make(early_stopping=early_stopping, n_iter_no_change=np.inf, batch_size=50)
    est.set_params(hidden_layer_sizes=(300, 300)).partial_fit(X[:100], y[:100], **more)
    start = parameters(est).copy()
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    calls = 0
    try:
        with pytest.raises(KeyboardInterrupt):
            while calls < 50:
                est.partial_fit(X, y, **more)
                calls += 1
    finally:
        timer.cancel()
    assert np.isfinite(parameters(est)).all() and (parameters(est) != start).any()
    assert len(est.loss_curve_) == 1 + calls and est.t_ == 100 + 20_000 * calls
    if early_stopping:
        assert len(est.validation_scores_) == len(est.validation_loss_curve_) == 1 + calls
    est.partial_fit(X[:100], y[:100], **more)
    assert est.predict(X[:10]).shape == (10,) and len(est.loss_curve_) == 2 + calls


def interrupt_after(monkeypatch, name):
    """Make a method of a model behave as if Ctrl-C came when it is done."""
    method = getattr(Model, name)

    def interrupted(*args, **kwargs):
        method(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(Model, name, interrupted)


@pytest.mark.parametrize("name", ["train_epoch", "evaluate", "predict"])
def test_interrupted_epoch_is_not_recorded(name, monkeypatch):
    val = {"X_val": X_iris, "y_val": y_iris}
    clf = classifier(early_stopping=True).partial_fit(X_iris, y_iris, classes=[0, 1, 2], **val)
    before, records = parameters(clf).copy(), {k: copy.copy(v) for k, v in vars(clf).items() if k.endswith("_")}
    with monkeypatch.context() as patch:
        interrupt_after(patch, name)
        with pytest.raises(KeyboardInterrupt):
            clf.partial_fit(X_iris, y_iris, **val)
        assert (parameters(clf) != before).any()
        for key in ("t_", "loss_curve_", "validation_scores_", "validation_loss_curve_", "best_validation_score_"):
            assert getattr(clf, key) == records[key]
        with pytest.warns(UserWarning, match="Training interrupted by user."):
            classifier(early_stopping=True).fit(X_iris, y_iris)
    # What comes before the training is undone.
    before = pickle.dumps(clf)
    with monkeypatch.context() as patch:
        interrupt_after(patch, "check_rows")
        with pytest.raises(KeyboardInterrupt):
            clf.partial_fit(X_iris, y_iris, **val)
    assert pickle.dumps(clf) == before


OUT_OF_MEMORY = """
import _testcapi, warnings
import numpy as np
from fastbp import MLPClassifier
from fastbp.network import Model

warnings.simplefilter("ignore")
X, y = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 3
train = Model.train_epoch
for nth in range(150):  # the allocation that fails after the training has
    for method in ("fit", "partial_fit"):
        clf = MLPClassifier(5, random_state=0, max_iter=3).fit(X, y)
        expected, names = clf.predict_proba(X), set(vars(clf))

        def fail(*args, **kwargs):
            train(*args, **kwargs)
            error = MemoryError()
            _testcapi.set_nomemory(nth, nth + 1)
            raise error

        Model.train_epoch = fail
        try:
            try:
                getattr(clf, method)(X, y)
            except:
                _testcapi.remove_mem_hooks()
        except:
            _testcapi.remove_mem_hooks()
        Model.train_epoch = train
        assert set(vars(clf)) == names and len(clf.loss_curve_) == 3, (nth, method, set(vars(clf)) ^ names)
        assert (clf.predict_proba(X) == expected).all(), (nth, method)
print("done")
"""


def test_rollback_without_memory(tmp_path):
    pytest.importorskip("_testcapi")
    command = [sys.executable, "-P", "-c", OUT_OF_MEMORY]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert result.stdout == "done\n", result.stderr
