"""Steps by hand: forward, backward and update as calls of their own, for costs that the library does not have."""

import numpy as np
from sklearn.utils import assert_all_finite

from .. import threads
from .._arrays import Data
from .._core import all_finite
from ..checks import check_real
from ..full_batch import FullBatch, GradientRule
from ..optimizers import SAM
from ..undo import Undo
from .heads import check_outs, joined, output_gradients_of
from .inputs import contiguous, kind_of
from .rules import check_optimizer, rule_of

NOTHING_KEPT = "backward needs a call of forward before it, with nothing trained or evaluated between"


def forward(model, X, out, n_threads):
    """What `Network.forward` returns; the engine keeps the activations, and as `kept` whose they are."""
    data = Data(model.check_X(X))
    n = data.n_rows
    if n == 0:
        raise ValueError("X must have at least one row, got 0")
    if out is None:
        outs = tuple([np.empty((n, output.n), model.dtype) for output in model.outputs])
    else:
        outs = tuple(check_outs(out, n, model.dtype, X, model.outputs))
    with threads.exclusive(model.engine), model.team(n_threads, n, n) as n_threads:
        model.engine.forward(model.parameters, model.layer_state, data, outs, n_threads)
    return joined(outs, model.outputs)


def backward(model, dz, out, n_threads):
    """What `Network.backward` returns."""
    data = model.engine.kept
    if data is None:
        raise RuntimeError(NOTHING_KEPT)
    dz = output_gradients_of(dz, data.n_rows, model.dtype, model.outputs)
    shapes = (model.parameters.shape, (data.n_rows, model.n_inputs))
    if out is None:
        out = tuple([np.empty(shape, model.dtype) for shape in shapes])
    else:
        _check_gradients(out, shapes, model.dtype)
    uses_blas = out[1] is not None  # for the input gradient's product
    with threads.exclusive(model.engine), model.team(n_threads, data.n_rows, data.n_rows, uses_blas) as n_threads:
        model.engine.backward(model.parameters, model.layer_state, data, dz, *out, n_threads)
    return tuple(out)


def _check_gradients(out, shapes, dtype):
    """ValueError unless out is two arrays of these shapes, or one and None, that the core can write to."""
    if not isinstance(out, tuple | list) or len(out) != 2 or out[0] is None:
        raise ValueError(f"out must be a tuple (gradient, input_gradient), the second perhaps None, got {out!r}")
    for name, array, shape in zip(("gradient", "input_gradient"), out, shapes, strict=True):
        if array is not None and not (
            isinstance(array, np.ndarray) and (array.shape, array.dtype) == (shape, dtype) and array.flags.carray
        ):
            raise ValueError(
                f"{name} of out must be a writeable C-contiguous {dtype.name} array of shape {shape}, got "
                f"{kind_of(array)}"
            )
    if out[1] is not None and np.may_share_memory(*out):
        raise ValueError("out must be two arrays apart from each other")


def step(model, gradient, optimizer):
    """What `Network.step` does."""
    optimizer = checked_rule(model, optimizer)
    gradient = contiguous(check_real("gradient", gradient), model.dtype)
    if gradient.shape != model.parameters.shape:
        raise ValueError(f"gradient must have shape {model.parameters.shape}, got {gradient.shape}")
    if not all_finite(gradient):
        assert_all_finite(gradient, input_name="gradient")
    update(model, gradient, optimizer)


def step_with(model, X, output_gradient, optimizer, n_threads):
    """What `Network.step_with` returns."""
    optimizer = checked_rule(model, optimizer)
    with threads.exclusive(model.engine):
        a = forward(model, X, None, n_threads)
        kept = model.engine.kept
        dz = output_gradient(a)
        if model.engine.kept is not kept:
            raise RuntimeError("output_gradient must not train or evaluate the network")
        try:
            gradient, _ = backward(model, dz, (np.empty_like(model.parameters), None), n_threads)
        except ValueError as error:
            raise ValueError(f"what output_gradient returned: {error}") from error
        if not all_finite(gradient):
            for part in dz.values() if isinstance(dz, dict) else [dz]:
                assert_all_finite(part, input_name="what output_gradient returned")
            raise FloatingPointError("the gradient is not finite; the network is as it was")
        update(model, gradient, optimizer)
    return a


def checked_rule(model, optimizer):
    """The rule; TypeError or ValueError unless it is one that needs nothing but a gradient, by steps."""
    optimizer = rule_of(optimizer)
    if isinstance(optimizer, SAM):
        raise TypeError(
            "optimizer must be an SGD, Adam, AdamW, RMSProp, Adagrad, Rprop or Quickprop for step: SAM needs a second "
            f"gradient, which fit takes, got {optimizer!r}"
        )
    if optimizer is model.optimizer and not hasattr(optimizer.learning_rate, "per"):  # it has been checked
        return optimizer
    check_optimizer(optimizer, model.dtype)
    if isinstance(optimizer, FullBatch) and not isinstance(optimizer, GradientRule):
        raise TypeError(
            "optimizer must be an SGD, Adam, AdamW, RMSProp, Adagrad, Rprop or Quickprop for step: "
            f"{type(optimizer).__name__} needs the cost too, which fit has, got {optimizer!r}"
        )
    if getattr(getattr(optimizer, "learning_rate", None), "per", "step") != "step":
        raise ValueError(
            f"step knows no epochs: learning_rate must be a number or a schedule with per='step', got "
            f"{optimizer.learning_rate!r}"
        )
    if isinstance(optimizer, FullBatch):
        optimizer.check(model)
    return optimizer


def update(model, gradient, optimizer):
    """One update by a checked rule from a gradient (n_parameters,) of the cost without penalties."""
    if isinstance(optimizer, FullBatch):
        with threads.exclusive(model.engine), Undo() as undo:
            undo.save_attribute(model, "optimizer_state")
            undo.save_values(model.parameters)
            model.engine.forget()  # its activations are of other parameters
            state = model.optimizer_state = model.state_of(optimizer).copy()
            optimizer.update(model.parameters, model.penalize(0.0, gradient.copy())[1], *state.arrays, state.t)
        return

    with threads.exclusive(model.engine):
        before = model.optimizer_state
        try:
            state = model.state_of(optimizer)
            if model.ties or model.is_masked:
                gradient = gradient.copy()
                model.add_ties(model.parameters, gradient)
            model.engine.step(
                model.parameters, gradient, model.settings_of(optimizer), state.learning_rate(optimizer), state.arrays,
                state.t, model.penalties,
            )  # fmt: skip
        except BaseException:
            if model.optimizer_state is not before and model.optimizer_state.t[0] == 0:  # a new one, without a step
                model.optimizer_state = before
            raise
