"""Models in several threads and processes."""

import os
import pickle
import signal
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
from estimator_cases import X_digits, X_iris, X_reg, classifier, names_iris, regressor, y_digits, y_reg
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastbp.estimators import MLPClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("fresh", [False, True])
def test_prediction_from_many_threads(fresh):
    clf = MLPClassifier((50, 20), max_iter=3, random_state=0).fit(X_digits, y_digits)
    expected = [clf.predict_proba(X_digits[i::8]) for i in range(8)]
    if fresh:
        clf = pickle.loads(pickle.dumps(clf))
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            results = pool.map(lambda i: clf.predict_proba(X_digits[i::8]), range(8))
            for result, one in zip(results, expected, strict=True):
                np.testing.assert_array_equal(result, one)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_grid_search(backend):
    pipeline = make_pipeline(StandardScaler(), classifier(max_iter=20))
    grid = {"mlpclassifier__alpha": [1e-4, 10], "mlpclassifier__solver": ["adam", "lbfgs"]}
    alone = GridSearchCV(pipeline, grid, cv=3).fit(X_iris, names_iris)
    with joblib.parallel_backend(backend, n_jobs=2):
        search = GridSearchCV(pipeline, grid, cv=3).fit(X_iris, names_iris)
        scores = cross_val_score(regressor(), X_reg, y_reg, cv=4)
    assert search.best_params_ == alone.best_params_
    for name in ("mean_test_score", "std_test_score"):
        np.testing.assert_array_equal(search.cv_results_[name], alone.cv_results_[name])
    np.testing.assert_array_equal(scores, cross_val_score(regressor(), X_reg, y_reg, cv=4))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_fork_after_two_threads():
    clf = MLPClassifier((200, 200), max_iter=2, batch_size=250, random_state=0, n_threads=2)
    expected = clf.fit(X_digits, y_digits).predict_proba(X_digits)
    child = os.fork()
    if child == 0:
        # A hanging child ends itself.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        same = (clf.predict_proba(X_digits) == expected).all()
        again = (clf.fit(X_digits, y_digits).predict_proba(X_digits) == expected).all()
        os._exit(0 if same and again else 1)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(clf.predict_proba(X_digits), expected)
