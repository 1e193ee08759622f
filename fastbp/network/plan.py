"""What the core does in a run, to be read: ops, how members of the team share them, barriers, memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import threads
from .._arrays import Data
from .._core import MODES
from ..checks import check_size
from ..full_batch import FullBatch
from ..graph import sections_of, weights_of_sections
from .rules import check_optimizer, rule_of, update_settings

_SPLITS = {
    "rows": "blocks of rows", "columns": "columns", "whole columns": "columns, all rows at once",
    "alone": "each op shares as it does", "weights": "parts of weights",
}  # fmt: skip


class PlannedOp(NamedTuple):
    """One op of a phase: its kind, as in src_c/ops.def, and what it works on in words."""

    kind: str
    details: str

    def __str__(self) -> str:
        return f"{self.kind:<18}{self.details}".rstrip()


class Phase(NamedTuple):
    """Ops that the members of the team run without waiting for each other.

    Attributes
    ----------
    split : {"rows", "columns", "whole columns", "alone", "weights"}
        What each member has a share of.
    ops : tuple of PlannedOp
    barrier : bool
        Whether all wait for all at its end.
    """

    split: str
    ops: tuple[PlannedOp, ...]
    barrier: bool

    def __str__(self) -> str:
        lines = [f"{_SPLITS[self.split]}:", *(f"    {op}" for op in self.ops)]
        return "\n".join(lines + ["---- barrier"] * self.barrier)


@dataclass(frozen=True)
class Plan:
    """What `Network.program` returns; as a string, all of it in words.

    Attributes
    ----------
    mode : str
    dtype : dtype
    n_rows : int
        Of a batch.
    n_threads : int
        At most; 1 where the work does not repay more.
    phases : tuple of Phase
        One after the other for each chunk of a batch.
    online : bool
        Whether, without phases, one call makes all ops of many batches of few rows; then each layer's gradient, and the
        update with it, follow the delta of the layer below.
    x_as_nonzeros : bool
        Whether products with X take lists of its nonzeros.
    x_in_place : bool
        Whether rows of X are used where they lie, without a copy to the workspace.
    weights_in_place : bool
        Whether weights and the optimizer's state are used where they lie, as packing them does not repay.
    sparse_update : bool
        Whether an update passes over those weights of the first layer whose columns of X have no nonzeros in the batch,
        as they can make up for the steps that they miss (or miss nothing, by `SGD` without momentum and `Adagrad`):
        where nothing penalizes, bounds or averages these weights and gradients are not clipped by norm.
    halved : str or None
        The layer whose middle stripe of columns two members may share, as its sum is made in two halves.
    chunk : int
        Rows that are worked on at once.
    sides : int
        Of the workspace, which chunks take in turn.
    workspace_size : int
        Bytes; without the optimizer's state, unless the network has one.

    See Also
    --------
    Network.program : Makes it.

    Examples
    --------
    >>> import fastbp
    >>> net = fastbp.Network([fastbp.Dense(100, "relu"), fastbp.Dense(10)], n_inputs=784, dtype="float32")
    >>> plan = net.program("train", batch_size=64, n_threads=2)
    >>> plan.n_rows, plan.n_threads, plan.workspace_size > 0
    (64, 2, True)
    """

    mode: str
    dtype: np.dtype[Any]
    n_rows: int
    n_threads: int
    phases: tuple[Phase, ...]
    online: bool
    x_as_nonzeros: bool
    x_in_place: bool
    weights_in_place: bool
    sparse_update: bool
    halved: str | None
    chunk: int
    sides: int
    workspace_size: int

    @property
    def n_barriers(self) -> int:
        """Barriers for each chunk."""
        return sum(phase.barrier for phase in self.phases)

    def __str__(self) -> str:
        chunks = "at once" if self.chunk == self.n_rows else f"in chunks of {self.chunk}"
        rows = "used where they lie" if self.x_in_place else "copied"
        lines = [
            f"{self.mode} of {self.n_rows} rows, {chunks}, in {self.dtype.name}",
            f"threads: {self.n_threads}, barriers: {self.n_barriers}",
            f"rows of X are {rows}{', products take their nonzeros' if self.x_as_nonzeros else ''}",
            f"weights are {'used where they lie' if self.weights_in_place else 'packed'}",
            f"workspace: {self.workspace_size:,} bytes, on {self.sides} side{'s'[: self.sides - 1]}",
        ]
        if self.sparse_update:
            lines.append("of the first layer only weights of columns with nonzeros are updated")
        if self.online:
            lines.append("online: many batches in one call, without phases; a layer is updated once its delta is there")
        if self.halved is not None:
            lines.append(f"middle stripe of {self.halved} as two sums")
        return "\n".join([*lines, "", *map(str, self.phases)])

    __repr__ = __str__


def plan_of(model, mode, batch_size, n_threads, X, optimizer):
    """What `Network.program` returns."""
    if mode not in MODES:
        raise ValueError(f"mode must be one of {tuple(MODES)}, got {mode!r}")
    if mode in ("train", "gradient", "loss") and model.loss is None:
        raise ValueError(f"mode {mode!r} needs a network with a loss, this one has loss=None")
    batch_size = check_size("batch_size", batch_size)
    optimizer = rule_of(optimizer or model.optimizer or "sgd")
    check_optimizer(optimizer, model.dtype)
    if isinstance(optimizer, FullBatch):
        raise ValueError(f"optimizer must be a rule that makes steps of batches, got {optimizer!r}")
    n_threads = threads.check_n_threads(n_threads) or threads.default_n_threads()
    whole = X is not None
    X = model.check_X(X) if whole else np.ones((batch_size, model.n_inputs), model.dtype)
    if X.shape[0] == 0:
        raise ValueError("X must have at least one row, got 0")
    n_rows = min(batch_size, X.shape[0]) if mode == "train" else X.shape[0]
    ties, states, randomness = (), (), None
    if mode == "train":
        ties, randomness = model.tied_sets, (None, model.input_dropout, model.input_noise, None)
        states = [model.parameters] * optimizer.n_states  # any place, as nothing is written there
    none = (None,) * len(model.outputs)
    found = model.engine.describe(
        mode, model.parameters, model.layer_state, Data(X, none, none), n_rows, n_threads, ties, states, randomness,
        whole, update_settings(optimizer), model.penalties if mode == "train" else (),
    )
    words = _Words(model, mode, min(n_rows, found["chunk"]))
    phases = tuple(
        Phase(split, tuple(map(words.op, ops)), bool(barrier) and found["n_threads"] > 1)
        for split, barrier, ops in found.pop("phases")
    )
    halved = found.pop("halved")
    return Plan(
        mode=mode, dtype=model.dtype, n_rows=n_rows, phases=phases,
        halved=None if halved is None else model.fused.values[halved].name, **found,
    )  # fmt: skip


class _Words:
    """Ops in words: values by the names of layers, with the shapes that they have for a chunk of rows."""

    def __init__(self, model, mode, n_rows):
        self.graph, self.outputs, self.mode, self.n_rows = model.fused, model.outputs, mode, n_rows
        self.sections = weights_of_sections(self.graph, sections_of(self.graph))
        if mode not in ("train", "gradient"):
            self.sections = [-1] * len(self.sections)

    def op(self, row):
        """The op, of those of a Program."""
        kind, *numbers = row
        return PlannedOp(kind, self._details(kind, *numbers))

    def _details(self, kind, input_, output, weights, bias, column, source, n, accumulate):
        match kind:
            case "gather" | "output":
                return self._value(input_)
            case "list_transpose" | "transpose":
                return f"{self._value(input_)} -> transposed"
            case "loss" | "output_back":
                return f"{self._value(input_)} -> {self._gradient(output)}"
            case "unit" | "middle_unit":
                return f"{self._value(output)} = {self._unit(output)}"
            case "unit_back":
                return f"{self._gradient(output)} *= {self._unit(output)}'"
            case "dense" | "transposed" | "rbf" | "sparse" | "scale" | "prelu" | "group_norm" | "weight_norm":
                return f"{self._value(input_)} -> {self._value(output)}{self._parameters(weights, bias)}"
            case "embed":
                W = f"W{weights} {self._shape(weights)}"
                to = self._columns(output, column, self.graph.weights[weights].n_out)
                return f"{self._columns(input_, source, n)} -> {to}    {W}"
            case "dense_back" | "transposed_back" | "rbf_back" | "sparse_back" | "scale_back" | "prelu_back":
                W = f"W{weights} {self._shape(weights)}"
                return f"{self._gradient(input_)} -> {self._gradient(output, accumulate)}    {W}"
            case "batch_norm" | "bins":
                return f"{self._value(input_)} -> {self._value(output)}"
            case "batch_norm_back" | "group_norm_back" | "bins_back":
                return f"{self._gradient(input_)} -> {self._gradient(output, accumulate)}"
            case "weight_norm_back":
                return f"{self._gradient(input_)} -> {self._gradient(output, accumulate)}"
            case "weight_factors":
                return f"norms of W{weights} {self._shape(weights)}"
            case "weight_sums":
                return f"{self._gradient(input_)} -> sums of columns"
            case "batch_statistics":
                return f"{self._value(input_)} -> mean, variance of columns"
            case "batch_sums":
                return f"{self._gradient(input_)} -> sums of columns"
            case "move" | "add":
                return f"{self._columns(input_, source, n)} -> {self._columns(output, column, n)}"
            case "move_back":
                to = self._columns(output, source, n, "d ")
                return f"{self._columns(input_, column, n, 'd ')} -> {'+= ' * accumulate}{to}"
            case "catch_up":
                return f"rows of W{weights} {self._shape(weights)}"
            case "update":
                return " ".join(f"W{i}" for i, section in enumerate(self.sections) if section == weights)
            case _:  # ties, sum_losses
                return ""

    def _value(self, number):
        value = self.graph.values[number]
        return f"{value.name} ({self.n_rows}, {value.n})"

    def _gradient(self, number, accumulate=False):
        return ("+= " if accumulate else "") + f"d {self._value(number)}"

    def _unit(self, number):
        value = self.graph.values[number]
        dropout = f"dropout {value.dropout:g} of " if value.dropout and self.mode == "train" else ""
        return f"{dropout}{value.unit}" + (f"({value.parameter:g})" if value.parameter else "")

    def _shape(self, number, whole=True):
        w = self.graph.weights[number]
        return f"({w.n_in}, {w.n_out})" if whole else f"({w.n_out},)"

    def _parameters(self, weights, bias):
        """Those that there are, W and b, after some blanks."""
        W = [f"W{weights} {self._shape(weights)}"] if weights >= 0 else []
        b = [f"b{bias} {self._shape(bias, False)}"] if bias >= 0 else []
        return "    " * bool(W or b) + ", ".join(W + b)

    def _columns(self, number, first, n, prefix=""):
        """Some columns of a value."""
        text = prefix + self._value(number)
        return text if n == self.graph.values[number].n else f"{text}[:, {first}:{first + n}]"
