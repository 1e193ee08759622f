"""Epochs with pruning in them."""

import operator

import numpy as np

from ..averaging import SWA
from ..pruning import remaining


def train_pruned_epoch(model, prune, data, order, batch_size, optimizer, **settings):
    """`Model.train_epoch` with the prunings that are due: in parts, where some are between steps of the epoch."""
    n, state = data.n_rows if order is None else len(order), model.state_of(optimizer)
    order, records, begin = np.arange(n, dtype=np.int64) if order is None else order, [], 0
    while begin < n:
        k = _position(prune, state)
        _prune(model, prune.sparsity(k))
        steps = prune.until_next(k) if prune.per == "step" else None
        end = n if steps is None else min(n, begin + steps * batch_size)
        record, loss = model.train_epoch(data, order[begin:end], batch_size, optimizer, **settings)
        records.append(record)
        if not np.isfinite(loss):
            return np.concatenate(records), np.nan
        begin = end
    record = np.concatenate(records)
    weights = record[:, 2]
    return record, float(weights @ record[:, :2].sum(axis=1) / weights.sum()) if weights.any() else 0.0


def check_pruning(prune, average, n_rows, epochs, batch_size, fresh):
    """ValueError if the pruning does not fit a training of so many epochs; `fresh` if the optimizer begins with it."""
    if isinstance(average, SWA) and prune.per == "step":
        raise ValueError(f"prune must have per='epoch' with a SWA, which averages what epochs end with, got {prune!r}")
    length = epochs * (1 if prune.per == "epoch" else -(-n_rows // batch_size))
    if fresh and prune.last >= length:
        raise ValueError(f"prune must end before training does, which has {length} {prune.per}s, got {prune!r}")


def is_pruning(prune, state, n_more=0):
    """Whether there is pruning that is not over; n_more: epochs that the state has not counted yet."""
    return prune is not None and _position(prune, state, n_more) <= prune.last


def _position(prune, state, n_more=0):
    """Where training is, as the settings count it: steps or whole epochs that the optimizer has made."""
    return int(state.t[0]) if prune.per == "step" else state.epochs + n_more


def _prune(model, sparsity):
    """Make the smallest weights 0 for good, until they are this share of those of each product."""
    masks = tuple(
        remaining(W, sparsity, mask) if w.role == "weight" and W.size else mask
        for w, mask, (W, _) in zip(model.graph.weights, model.masks, model.sets(model.parameters), strict=True)
    )
    if not all(map(operator.is_, masks, model.masks)):
        model.masks = masks
        average = model.optimizer_state.average
        averaged = () if average is None else (average.values[0], average.learnt[0])
        for flat in (model.parameters, *model.optimizer_state.arrays, *averaged):
            model.apply_masks(flat)
