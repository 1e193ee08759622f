"""scikit-learn's own tests of its multilayer perceptrons, run on ours."""

import importlib.util
from unittest import mock

import pytest
import sklearn.neural_network

from fastbp.estimators import MLPClassifier, MLPRegressor

MODULE = "sklearn.neural_network.tests.test_mlp"

NOT_OURS = {
    "test_gradient": "calls the private _loss_grad_lbfgs; our gradients have tests of their own",
}

if importlib.util.find_spec("sklearn.neural_network.tests") is None:
    pytest.skip(f"this scikit-learn was installed without {MODULE}", allow_module_level=True)


def _load():
    """A fresh copy of scikit-learn's test module, which imports our classes for its own."""
    ours = {"MLPClassifier": MLPClassifier, "MLPRegressor": MLPRegressor}
    with mock.patch.multiple(sklearn.neural_network, **ours):
        spec = importlib.util.find_spec(MODULE)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


_tests = {name: test for name, test in vars(_load()).items() if name.startswith("test_")}
globals().update({name: test for name, test in _tests.items() if name not in NOT_OURS})


@pytest.fixture
def global_random_seed():
    return 42


def test_the_suite_is_there():
    assert len(_tests) > 30
    assert set(NOT_OURS) <= set(_tests)
    assert _tests["test_alpha"].__globals__["MLPClassifier"] is MLPClassifier
