"""Which update rule an `optimizer` stands for."""

from functools import cache

from .._core import ROLES, RULES
from ..checks import check_in_dtype
from ..full_batch import BFGS, LBFGS, FullBatch, Newton, NewtonCG, Quickprop, Rprop
from ..names import OPTIMIZERS, OptimizerName, did_you_mean
from ..optimizers import SAM, SGD, Adagrad, Adam, AdamW, RMSProp, UpdateRule

Optimizer = OptimizerName | UpdateRule | SAM | FullBatch
_NAMED = {
    "sgd": SGD, "adam": Adam, "adamw": AdamW, "rmsprop": RMSProp, "adagrad": Adagrad, "rprop": Rprop,
    "quickprop": Quickprop, "newton": Newton, "newton_cg": NewtonCG, "bfgs": BFGS, "lbfgs": LBFGS,
}  # fmt: skip


def rule_of(optimizer):
    """The rule with its default settings of a name; anything else as it is."""
    if not isinstance(optimizer, str):
        return optimizer
    if optimizer not in _NAMED:
        raise ValueError(
            f"optimizer must be one of {OPTIMIZERS} or an object such as SGD(0.1), got {optimizer!r}"
            f"{did_you_mean(optimizer, OPTIMIZERS)}"
        )
    return _by_default(_NAMED[optimizer])


def check_optimizer(optimizer, dtype):
    """TypeError or ValueError unless it is a rule, with settings that are possible in a network's dtype."""
    if not isinstance(optimizer, UpdateRule | SAM | FullBatch):
        raise TypeError(
            "optimizer must be an SGD, Adam, AdamW, RMSProp or Adagrad, or a SAM of one, or Rprop, Quickprop, Newton, "
            f"NewtonCG, BFGS or LBFGS, or one of the names {OPTIMIZERS}, got {optimizer!r}"
        )
    check_in_dtype(dtype, optimizer=optimizer)


def update_settings(optimizer):
    """Those of a rule that makes steps of batches, as the engine takes them."""
    factors = [(optimizer.per_role or {}).get(role, 1.0) for role in ROLES]
    return {**optimizer.settings, "rule": RULES[optimizer.rule], "per_role": factors}


@cache  # a network knows by the object that it has checked it
def _by_default(rule):
    return rule()
