"""Bad networks, settings and calls are errors that name the argument and leave the network alone."""

import pickle

import numpy as np
import pytest
from network_cases import make, problem
from scipy import sparse

from fastbp import (
    ELU,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Dense,
    HistogramLoss,
    Huber,
    LeakyReLU,
    Lp,
    Network,
    Quantile,
    RMSProp,
    SoftmaxCrossEntropy,
)

BAD_FITS = {
    r"y must have rows that sum to 1 .*, got 0.5 in row 3; loss='cross_entropy' is": lambda X, y: {
        "y": np.r_[np.eye(3)[y[:3]], np.eye(3)[y[3:]] / 2]
    },
    "X must have shape": lambda X, y: {"X": X[:, :3]},
    "X must have shape .*got \\(5,\\)": lambda X, y: {"X": X[0]},
    "X must hold real numbers": lambda X, y: {"X": X.astype(complex)},
    "X must hold real numbers, got dtype <U": lambda X, y: {"X": X.astype(str)},
    "X must hold real numbers, got None": lambda X, y: {"X": None},
    "X must hold real numbers in one array: ": lambda X, y: {"X": [[1, 2], [3]]},
    "X must have at least one row": lambda X, y: {"X": X[:0], "y": y[:0]},
    "Input X contains NaN": lambda X, y: {"X": np.where(X > 1, np.nan, X)},
    "Input X contains infinity": lambda X, y: {"X": np.where(X > 1, np.inf, X)},
    "y must have 20 rows": lambda X, y: {"y": y[:10]},
    "y must hold class indices from 0 to 2, got 3 in row 4": lambda X, y: {"y": np.where(np.arange(20) == 4, 3, y)},
    "y must hold class indices": lambda X, y: {"y": y - 1},
    "y must hold class indices .*": lambda X, y: {"y": y + 0.5},
    r"y must have shape \(20, 3\), .*, got \(20, 2\)": lambda X, y: {"y": np.ones((20, 2))},
    r"y must hold real numbers, got dtype <U\d+; .* \(numpy.unique\(y, return_.*MLPClassifier": lambda X, y: {
        "y": y.astype(str)
    },
    "y must hold real numbers, got 'b' in row 0; a Network takes class indices from 0 ": lambda X, y: {
        "y": np.array(["b"] * 20, object)
    },
    "y must hold real numbers, got dtype datetime64.D.$": lambda X, y: {"y": y.astype("M8[D]")},
    r"y must have shape \(20, 3\), or \(20,\) for class indices, got \(20, 1\)": lambda X, y: {"y": y[:, None]},
    "y must not be negative": lambda X, y: {"y": -np.ones((20, 3))},
    "Input y contains NaN": lambda X, y: {"y": np.full((20, 3), np.nan)},
    r"sample_weight must have shape \(20,\)": lambda X, y: {"sample_weight": np.ones(3)},
    "sample_weight must be finite and not negative, got -1.0 in row 0": lambda X, y: {"sample_weight": -np.ones(20)},
    r"sample_weight must have shape \(20,\), got \(\)": lambda X, y: {"sample_weight": 2.0},
    "sample_weight must hold real numbers, got 'balanced'": lambda X, y: {"sample_weight": "balanced"},
    "validation_data: Input y contains NaN": lambda X, y: {"validation_data": (X, y * np.nan)},
    "sample_weight must be finite": lambda X, y: {"sample_weight": np.full(20, np.nan)},
    "sample_weight must not be zero for all": lambda X, y: {"sample_weight": np.zeros(20)},
    "epochs must be an integer .*, got 0": lambda X, y: {"epochs": 0},
    "epochs must be an integer .*, got None": lambda X, y: {"epochs": None},
    "shuffle must be True or False, got 'no'": lambda X, y: {"shuffle": "no"},
    "batch_size must be an integer": lambda X, y: {"batch_size": 2.5},
    "early_stopping needs validation_data": lambda X, y: {"early_stopping": 3},
    "validation_data: Input X contains NaN": lambda X, y: {"validation_data": (X * np.nan, y)},
    "validation_data must be a tuple .*, got ndarray": lambda X, y: {"validation_data": X},
    "validation_data must be a tuple .*, got tuple of length 1": lambda X, y: {"validation_data": (X,)},
    "validation_data: X must have shape": lambda X, y: {"validation_data": (X[:, :2], y)},
    "n_threads must be": lambda X, y: {"n_threads": 0},
    "n_threads must be an integer|n_threads must be None or an integer up to 256": lambda X, y: {"n_threads": 10**9},
    "y must hold class indices, got NaN": lambda X, y: {"y": y * np.nan},
    "sample_weight must have a sum": lambda X, y: {"sample_weight": np.full(20, 1e308)},
    "sample_weight must hold real numbers": lambda X, y: {"sample_weight": ["a"] * 20},
    "X must hold real numbers, got dtype complex": lambda X, y: {"X": sparse.csr_array(X + 1j)},
}


@pytest.mark.parametrize("message", BAD_FITS)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_bad_fit_leaves_the_network_alone(rng, message, method):
    X, y, _ = problem(rng, 20, 5, 3, "softmax_cross_entropy")
    net = make([5, 4, 3], loss="softmax_cross_entropy")
    net.fit(X, y, optimizer=Adam(), epochs=2)
    before = pickle.dumps(net)
    arguments = {"X": X, "y": y, "optimizer": Adam(), **BAD_FITS[message](X, y)}
    with pytest.raises(ValueError, match=message):
        getattr(net, method)(**arguments)
    assert pickle.dumps(net) == before


@pytest.mark.parametrize("optimizer", [0.1, SGD, Adam])
def test_bad_optimizer(rng, optimizer):
    X, y = np.ones((3, 4)), np.ones((3, 2))
    net = make([4, 2])
    net.fit(X, y, optimizer=Adam())
    before = pickle.dumps(net)
    for call in (net.fit, net.partial_fit):
        with pytest.raises(TypeError, match="optimizer must be an SGD, Adam, AdamW"):
            call(X, y, optimizer=optimizer)
    with pytest.raises(TypeError, match="optimizer must be an SGD, Adam, AdamW"):
        net.step(np.ones_like(net.parameters), optimizer)
    assert pickle.dumps(net) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": []}, r"layers must be a list or tuple of at least one layer, got \(\)"),
        ({"layers": [3]}, r"layers\[0\] must be a layer, got 3"),
        ({"layers": Dense(3)}, r"layers must be a list or tuple of at least one layer, got Dense\(n_units=3\)"),
        ({"layers": np.zeros((10**5, 2))}, r"layers\[0\] must be a layer, got array\(\[0., 0.\]\)$"),
        ({"layers": [np.zeros(10**5), Dense(3)]}, r"layers\[0\] must be a layer, got .{,40}$"),
        ({"n_inputs": 0}, "n_inputs must be an integer of at least 1 .*, got 0"),
        ({"loss": "hinge"}, "loss must be one of"),
        ({"dtype": "float16"}, "dtype must be 'float32' or 'float64'"),
        ({"dtype": ">f4"}, "dtype must be 'float32' or 'float64'"),
        ({"dtype": "foo"}, "dtype must be 'float32' or 'float64'"),
        ({"l1": -1}, r"l1 must be a number in \[0, inf\), got -1"),
        ({"l2": np.nan}, r"l2 must be a number in \[0, inf\), got nan"),
        ({"loss": "softmax_cross_entropy", "layers": [Dense(3, "relu")]}, "brings its own output unit"),
        ({"loss": "softmax_cross_entropy", "layers": [Dense(1)]}, "needs at least two outputs"),
        ({"loss": Huber}, "loss must be one of"),
        ({"loss": "perceptron", "layers": [Dense(3, "step")]}, "brings its own output unit"),
        ({"loss": "gaussian"}, "loss='gaussian' needs 2 outputs for each target, got 3 in all"),
        ({"loss": Quantile([0.1, 0.9])}, "needs 2 outputs for each target, got 3 in all"),
        ({"loss": HistogramLoss([0, 1, 2])}, "HistogramLoss with 3 edges needs one output less, got 3"),
    ],
)
def test_bad_networks(arguments, message):
    with pytest.raises(ValueError, match=message):
        Network(**{"layers": [Dense(3)], "n_inputs": 2, **arguments})


@pytest.mark.parametrize(
    ("make_setting", "message"),
    [
        (lambda: Dense(0), "n_units must be an integer of at least 1 .*, got 0"),
        (lambda: Dense(3, "swish7"), "activation must be one of"),
        (lambda: Dense(3, LeakyReLU), "activation must be one of"),
        (lambda: LeakyReLU(-0.1), r"slope must be a number in \[0, 1\], got -0.1"),
        (lambda: Lp(0.5), "p must be a number in"),
        (lambda: Huber(0), "delta must be a number in"),
        (lambda: Quantile([0.5, 1]), "levels must be a number in"),
        (lambda: Quantile([]), "levels must be a number in"),
        (lambda: SoftmaxCrossEntropy(1), "label_smoothing must be a number in"),
        (lambda: SoftmaxCrossEntropy(fixed_logit=1), "fixed_logit must be True or False, got 1"),
        (lambda: HistogramLoss([0, 2, 1]), "edges must be at least three finite numbers that ascend"),
        (lambda: HistogramLoss(3), "edges must be at least three finite numbers that ascend"),
        (lambda: HistogramLoss([0, 1, 2], -1), "sigma must be a number in"),
        (lambda: ELU(0), r"alpha must be a number in \(0, inf\), got 0"),
        (lambda: Dense(3, l2=-1), "l2 must be"),
        (lambda: Dense(3, max_norm=0), "max_norm must be"),
        (lambda: SGD(0), "learning_rate must be"),
        (lambda: SGD(0.1, momentum=1.5), "momentum must be"),
        (lambda: SGD(dampening=-0.1), "dampening must be"),
        (lambda: SGD(momentum=0.5, nesterov=True, dampening=0.5), "dampening must be 0.0 with nesterov=True, got 0.5"),
        (lambda: SGD(momentum=0.5, nesterov=True, proximal=True), "proximal must be False with nesterov=True"),
        (lambda: RMSProp(rho=1), "rho must be"),
        (lambda: RMSProp(momentum=2), "momentum must be"),
        (lambda: Adagrad(epsilon=0), "epsilon must be"),
        (lambda: AdamW(weight_decay=-1), "weight_decay must be"),
        (lambda: SGD(clip_value=0), "clip_value must be"),
        (lambda: Adam(clip_norm=-1), "clip_norm must be"),
        (lambda: SGD(clip_value=1, clip_norm=1), "clip_value must be None with clip_norm=1, got 1"),
        (lambda: SGD(momentum=None), "momentum must be"),
        (lambda: Adam(beta_1=1), "beta_1 must be"),
        (lambda: Adam(epsilon=0), "epsilon must be"),
    ],
)
def test_bad_settings(make_setting, message):
    with pytest.raises(ValueError, match=message):
        make_setting()


def test_settings_are_immutable_and_readable():
    assert repr(SGD(0.2, momentum=0.9, proximal=True)) == "SGD(learning_rate=0.2, momentum=0.9, proximal=True)"
    assert repr(AdamW()) == "AdamW()"
    assert Dense(3, "sigmoid") == Dense(3, "logistic")
    assert Dense(3, "swish") == Dense(3, "silu")
    assert repr(Dense(3, ELU(0.5)).activation) == "ELU(alpha=0.5)"
    with pytest.raises(AttributeError):
        Dense(3).n_units = 4


@pytest.mark.parametrize("flag", ["penalty", "batch_statistics"])
def test_flags_of_derivatives(flag):
    net, X, y = make([4, 2]), np.ones((3, 4)), np.ones((3, 2))
    calls = net.value_and_gradient, net.hessian, lambda *a, **k: net.hessian_vector_product(*a, net.parameters, **k)
    for call in calls:
        call(X, y, **{flag: np.True_})
        for value in ("no", None, 1):
            with pytest.raises(ValueError, match=f"{flag} must be True or False, got {value!r}"):
                call(X, y, **{flag: value})
