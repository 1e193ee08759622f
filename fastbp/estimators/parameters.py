"""The parameters that both estimators have: which values they take, and which of them go together."""

import math
import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from ..averaging import EMA, SWA
from ..full_batch import FullBatch
from ..layers import ELU, LeakyReLU
from ..layers.layer import check_layers
from ..names import ACTIVATIONS, FULL_BATCH_RULES, OPTIMIZERS, SCHEDULES, closest
from ..network import rule_of
from ..optimizers import SAM, UpdateRule
from ..pruning import Prune
from ..schedules import Schedule
from .undo import USER

CONSTRAINTS = {
    "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    "activation": [StrOptions(set(ACTIVATIONS) - {"step"}), LeakyReLU, ELU],
    "solver": [StrOptions(set(OPTIMIZERS)), UpdateRule, SAM, FullBatch],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "learning_rate": [StrOptions(set(SCHEDULES)), Schedule],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "power_t": [Interval(Real, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [Interval(Real, 0, None, closed="left")],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "beta_1": [Interval(Real, 0, 1, closed="left")],
    "beta_2": [Interval(Real, 0, 1, closed="left")],
    "epsilon": [Interval(Real, 0, None, closed="neither")],
    "n_iter_no_change": [
        Interval(Integral, 1, None, closed="left"),
        Options(Real, {np.inf}),
    ],
    "max_fun": [Interval(Integral, 1, None, closed="left")],
    "l1_ratio": [Interval(Real, 0, 1, closed="both")],
    "dropout": [Interval(Real, 0, 1, closed="left"), list, tuple],
    "hidden_layers": [list, tuple, None],
    "average": [EMA, SWA, None],
    "prune": [Prune, None],
    "n_threads": [
        Interval(Integral, 1, None, closed="left"),
        Interval(Integral, None, -1, closed="right"),
        None,
    ],
}


def set_parameters(arguments):
    """Store the arguments of an estimator's ``__init__``, given as its ``locals()``."""
    self = arguments.pop("self")
    arguments.pop("__class__", None)
    vars(self).update(arguments)


def is_stochastic(solver):
    """Whether it goes through mini-batches."""
    return not isinstance(solver, FullBatch) and solver not in FULL_BATCH_RULES


def full_batch_rule(solver):
    """The full-batch rule that it is or names; None of others, and of 'lbfgs', which is scikit-learn's."""
    if isinstance(solver, str):
        return rule_of(solver) if solver in FULL_BATCH_RULES and solver != "lbfgs" else None
    return solver if isinstance(solver, FullBatch) else None


def with_suggestion(mlp, error):
    """scikit-learn's error about a parameter, which says what was probably meant if that is known."""
    for parameter, constraints in mlp._parameter_constraints.items():
        if str(error).startswith(f"The {parameter!r} parameter"):
            named = [it for it in constraints if isinstance(it, StrOptions)]
            name = closest(getattr(mlp, parameter), sorted(set().union(*(it.options for it in named))))
            return error if name is None else type(error)(f"{error} Did you mean {name!r}?")
    return error


def hidden_of(mlp):
    """What describes the hidden layers: `hidden_layers` as a tuple of layers, or `hidden_layer_sizes` as a list."""
    units = _hidden_units(mlp)
    if mlp.hidden_layers is None:
        return units
    others = {"hidden_layer_sizes": units != [100], "activation": mlp.activation != "relu", "dropout": mlp.dropout != 0}
    for name, is_set in others.items():
        if is_set:
            raise ValueError(
                f"hidden_layers is in the place of {name}, of which only one may be set, got"
                f" hidden_layers={mlp.hidden_layers!r} and {name}={getattr(mlp, name)!r}."
            )
    return check_layers("hidden_layers", mlp.hidden_layers, least=0)


def _hidden_units(mlp):
    units = mlp.hidden_layer_sizes
    units = list(units) if hasattr(units, "__iter__") else [units]
    for problem, wrong in (
        ("integers", lambda n: not isinstance(n, Real) or not math.isfinite(n)),
        ("> 0", lambda n: n <= 0),
        ("integers", lambda n: n != int(n)),
    ):
        if any(map(wrong, units)):
            raise ValueError(f"hidden_layer_sizes must be {problem}, got {units}.")
    return [int(n) for n in units]


def check_network(mlp, model):
    """Raise ValueError if a layer, however deep within others, asks for what the solver can't do."""
    if is_stochastic(mlp.solver):
        return
    dropout = {value.name: value.dropout for value in model.graph.values if value.dropout}
    max_norm = [weights.max_norm for weights in model.graph.weights if weights.max_norm is not None]
    spectral = [model.graph.values[op.output].name for op in model.graph.forward if op.n_iterations]
    for name, settings in (("dropout", dropout), ("max_norm", max_norm), ("SpectralNorm", spectral)):
        if settings:
            raise ValueError(
                f"{name} is for the stochastic solvers, got solver={mlp.solver!r} and layers with {name} {settings}."
            )


def check_parameters(mlp, incremental, *validation):
    """Raise ValueError for parameters that don't go together, and warn of those that are not used."""
    stochastic = is_stochastic(mlp.solver)
    _check_early_stopping(mlp, incremental, *validation)
    if not isinstance(mlp.solver, str) and mlp.learning_rate != "constant":
        raise ValueError(
            "learning_rate must be 'constant' if solver is an object, which brings its own, got"
            f" {mlp.learning_rate!r}."
        )
    if mlp.average is not None and not stochastic:
        raise ValueError(
            f"average must be None, it needs a stochastic solver, got {mlp.average!r} and solver={mlp.solver!r}."
        )
    if mlp.prune is not None and not stochastic:
        raise ValueError(
            f"prune must be None, it needs a stochastic solver, got {mlp.prune!r} and solver={mlp.solver!r}."
        )
    ignored = not isinstance(mlp.solver, str) or isinstance(mlp.learning_rate, Schedule)
    if ignored and mlp.learning_rate_init != 0.001:
        warnings.warn(
            f"learning_rate_init={mlp.learning_rate_init} is not used: solver={mlp.solver!r} with"
            f" learning_rate={mlp.learning_rate!r} brings its own rates.",
            stacklevel=USER,
        )
    if not stochastic and isinstance(mlp.learning_rate, Schedule):
        warnings.warn(
            f"learning_rate={mlp.learning_rate!r} is not used: solver={mlp.solver!r} has no learning rate.",
            stacklevel=USER,
        )
    if getattr(full_batch_rule(mlp.solver), "needs_derivative", False) and mlp.alpha * mlp.l1_ratio > 0:
        raise ValueError(
            f"l1_ratio must be 0 for solver={mlp.solver!r}, which needs a differentiable penalty, got"
            f" {mlp.l1_ratio}."
        )


def _check_early_stopping(mlp, incremental, X_val, y_val, sample_weight_val):
    if (X_val is None) != (y_val is None):
        given, missing = ("y_val", "X_val") if X_val is None else ("X_val", "y_val")
        raise ValueError(f"{given} is provided, but {missing} was not provided.")
    if X_val is None and sample_weight_val is not None:
        raise ValueError("sample_weight_val is provided, but X_val was not provided.")
    if full_batch_rule(mlp.solver) is not None and mlp.early_stopping:
        raise ValueError(f"early_stopping must be False, it needs a stochastic solver, got solver={mlp.solver!r}.")
    if X_val is not None and not (is_stochastic(mlp.solver) and mlp.early_stopping):
        raise ValueError(
            "X_val and y_val are for early stopping, which needs early_stopping=True and a"
            f" stochastic solver, got early_stopping={mlp.early_stopping} and"
            f" solver={mlp.solver!r}."
        )
    if X_val is None and mlp.early_stopping and incremental:
        raise ValueError(
            "partial_fit does not support early_stopping=True unless X_val and y_val are given."
        )
