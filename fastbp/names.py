"""The names of units, costs, rules, initializers and schedules, and what other libraries call the same things.

Each `Literal` is the only list of its names: type checkers and editors read it, and arguments are checked against what
`typing.get_args` makes of it.
"""

import re
from difflib import get_close_matches
from typing import Literal, get_args

UnitName = Literal[
    "identity", "logistic", "tanh", "relu", "hard_tanh", "leaky_relu", "elu", "selu", "softplus", "gelu", "silu",
    "mish", "relu2", "hard_sigmoid", "hard_swish", "sin", "cos", "step", "softmax",
]  # fmt: skip
UnitAlias = Literal["sigmoid", "linear", "swish"]
ActivationName = UnitName | UnitAlias
LossName = Literal[
    "squared_error", "absolute_error", "huber", "quantile", "gaussian", "cross_entropy", "softmax_cross_entropy",
    "poisson", "perceptron",
]  # fmt: skip
ClassifierLossName = Literal["log_loss", "cross_entropy", "squared_error"]
RegressorLossName = Literal["squared_error", "absolute_error", "huber", "quantile", "gaussian", "poisson"]
BatchRuleName = Literal["sgd", "adam", "adamw", "rmsprop", "adagrad"]
FullBatchName = Literal["rprop", "quickprop", "newton", "newton_cg", "bfgs", "lbfgs"]
OptimizerName = BatchRuleName | FullBatchName
InitializerName = Literal[
    "sklearn", "lecun_normal", "lecun_uniform", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform",
    "orthogonal", "zeros",
]  # fmt: skip
ScheduleName = Literal["constant", "invscaling", "adaptive"]

UNITS: tuple[str, ...] = get_args(UnitName)
UNIT_ALIASES = {"sigmoid": "logistic", "linear": "identity", "swish": "silu"}
ACTIVATIONS = (*UNITS, *UNIT_ALIASES)
LOSSES: tuple[str, ...] = get_args(LossName)
CLASSIFIER_LOSSES: tuple[str, ...] = get_args(ClassifierLossName)
REGRESSOR_LOSSES: tuple[str, ...] = get_args(RegressorLossName)
BATCH_RULES: tuple[str, ...] = get_args(BatchRuleName)
FULL_BATCH_RULES: tuple[str, ...] = get_args(FullBatchName)
OPTIMIZERS = (*BATCH_RULES, *FULL_BATCH_RULES)
INITIALIZERS: tuple[str, ...] = get_args(InitializerName)
SCHEDULES: tuple[str, ...] = get_args(ScheduleName)

# What other libraries call the same, in lower case and without punctuation.
_ELSEWHERE = {
    "identity": {"none"},
    "logistic": {"expit"},
    "leaky_relu": {"lrelu"},
    "relu2": {"squaredrelu", "relusquared"},
    "step": {"heaviside", "sign"},
    "squared_error": {"mse", "meansquarederror", "mseloss", "l2", "l2loss", "quadratic"},
    "absolute_error": {"mae", "meanabsoluteerror", "l1", "l1loss"},
    "huber": {"smoothl1", "smoothl1loss"},
    "quantile": {"pinball"},
    "gaussian": {"gaussiannll", "gaussiannllloss"},
    "poisson": {"poissonnll", "poissonnllloss"},
    "cross_entropy": {"bce", "bceloss", "binarycrossentropy", "bcewithlogits", "bcewithlogitsloss"},
    "softmax_cross_entropy": {
        "crossentropyloss", "nll", "nllloss", "logloss", "loglikelihood", "softmax", "categoricalcrossentropy",
        "sparsecategoricalcrossentropy",
    },
    "log_loss": {
        "crossentropyloss", "nll", "nllloss", "softmaxcrossentropy", "loglikelihood", "softmax",
        "categoricalcrossentropy", "sparsecategoricalcrossentropy",
    },
    "sgd": {"gd", "momentum", "nesterov", "nag"},
    "adam": {"nadam", "adamax"},
    "newton_cg": {"trustncg"},
    "lbfgs": {"lbfgsb"},
    "glorot_uniform": {"xavier", "xavieruniform", "glorot"},
    "glorot_normal": {"xaviernormal"},
    "he_uniform": {"kaiminguniform"},
    "he_normal": {"kaiming", "kaimingnormal", "he"},
    "lecun_normal": {"lecun"},
    "zeros": {"zero"},
    "constant": {"fixed"},
    "invscaling": {"inversescaling", "inversetime"},
    "adaptive": {"plateau", "reduceonplateau"},
    "X_val": {"evalset", "validationdata"},
    "sample_weight": {"weight", "weights"},
    "sample_weight_val": {"evalsampleweight"},
}  # fmt: skip


def did_you_mean(value, names):
    """The end of a message that refuses a value, with the name that was probably meant; empty if there is none."""
    name = closest(value, names)
    return "" if name is None else f"; did you mean {name!r}?"


def closest(value, names):
    """Which of these names a value that is none of them probably means; None if none is like it."""
    if not isinstance(value, str):
        return None
    key, by_key = _key(value), {_key(name): name for name in names}
    same = [name for name in names if key == _key(name) or key in _ELSEWHERE.get(name, ())]
    return next(iter(same or map(by_key.get, get_close_matches(key, by_key, 1))), None)


def _key(name):
    return re.sub("[^a-z0-9]", "", name.lower())
