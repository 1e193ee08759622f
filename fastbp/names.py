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

# What other libraries call it, without case and punctuation, and our names for it, of which the first that is possible
# where it was given counts.
_ELSEWHERE = {
    "expit": ["logistic"], "none": ["identity"], "lrelu": ["leaky_relu"], "heaviside": ["step"], "sign": ["step"],
    "squaredrelu": ["relu2"], "relusquared": ["relu2"],
    "mse": ["squared_error"], "meansquarederror": ["squared_error"], "mseloss": ["squared_error"],
    "l2": ["squared_error"], "l2loss": ["squared_error"], "quadratic": ["squared_error"],
    "mae": ["absolute_error"], "meanabsoluteerror": ["absolute_error"], "l1": ["absolute_error"],
    "l1loss": ["absolute_error"], "smoothl1": ["huber"], "smoothl1loss": ["huber"], "pinball": ["quantile"],
    "gaussiannll": ["gaussian"], "gaussiannllloss": ["gaussian"], "poissonnll": ["poisson"],
    "poissonnllloss": ["poisson"],
    "bce": ["cross_entropy"], "bceloss": ["cross_entropy"], "binarycrossentropy": ["cross_entropy"],
    "bcewithlogits": ["cross_entropy"], "bcewithlogitsloss": ["cross_entropy"],
    "crossentropyloss": ["softmax_cross_entropy", "log_loss"], "nll": ["softmax_cross_entropy", "log_loss"],
    "nllloss": ["softmax_cross_entropy", "log_loss"], "logloss": ["softmax_cross_entropy", "log_loss"],
    "loglikelihood": ["softmax_cross_entropy", "log_loss"],
    "categoricalcrossentropy": ["softmax_cross_entropy", "log_loss"],
    "sparsecategoricalcrossentropy": ["softmax_cross_entropy", "log_loss"],
    "softmax": ["softmax_cross_entropy", "log_loss"], "softmaxcrossentropy": ["log_loss"],
    "gd": ["sgd"], "momentum": ["sgd"], "nesterov": ["sgd"], "nag": ["sgd"], "nadam": ["adam"], "adamax": ["adam"],
    "trustncg": ["newton_cg"], "lbfgsb": ["lbfgs"],
    "xavier": ["glorot_uniform"], "xavieruniform": ["glorot_uniform"], "xaviernormal": ["glorot_normal"],
    "glorot": ["glorot_uniform"], "kaiming": ["he_normal"], "kaiminguniform": ["he_uniform"],
    "kaimingnormal": ["he_normal"], "he": ["he_normal"], "lecun": ["lecun_normal"], "zero": ["zeros"],
    "inversescaling": ["invscaling"], "inversetime": ["invscaling"], "reduceonplateau": ["adaptive"],
    "plateau": ["adaptive"], "fixed": ["constant"],
    "evalset": ["X_val"], "validationdata": ["X_val"], "evalsampleweight": ["sample_weight_val"],
    "weights": ["sample_weight"], "weight": ["sample_weight"],
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
    known = [by_key.get(key), *_ELSEWHERE.get(key, []), *map(by_key.get, get_close_matches(key, by_key, 1))]
    return next((name for name in known if name in names), None)


def _key(name):
    return re.sub("[^a-z0-9]", "", name.lower())
