"""What training starts from: parameters, drawn or by rules that look at data, and what layers learn of the inputs."""

import numpy as np
from scipy.sparse import issparse
from scipy.spatial.distance import cdist
from sklearn.utils import assert_all_finite, check_random_state

from .. import threads
from ..initializers import initialize
from ..layers import draws_connections
from ..undo import Undo
from .bins import column_bounds
from .norms import MOST_ROWS, fit_norms, n_samples_of, norm_ops, scale_to
from .prediction import engine_of, predicted


def random_state_of(random_state):
    """The RandomState that a setting stands for."""
    if isinstance(random_state, np.random.Generator):
        random_state = np.random.RandomState(random_state.integers(2**32, size=4))
    try:
        return check_random_state(random_state)
    except ValueError as error:
        raise ValueError(
            f"random_state must be an integer from 0 to 2**32 - 1, a RandomState, a Generator or None, got "
            f"{random_state!r}"
        ) from error


def connection_seed(layers, random_state):
    """A seed for the connections that are to be drawn; None if there are none."""
    return random_state.randint(2**31) if draws_connections(layers) else None


def draw(model, random_state):
    """Draw the parameters, weights by weights, as the layers' rules or the network's say."""
    graph = model.fused
    kinds = "dense", "sparse", "transposed", "rbf", "weight_norm"
    products = [op for op in graph.forward if op.kind in kinds and op.bias >= 0]
    units = [graph.values[op.output].unit for op in products] or ["identity"]
    for weights, (W, b) in zip(graph.weights, model.sets(model.parameters), strict=True):
        match weights.role:
            case "weight":
                rule = weights.layer.initializer or model.initializer
                initialize(rule, random_state, W, b, units[0], _fans(weights), weights.start)
            case "centre":
                W[:] = random_state.normal(size=W.shape)
                b[:] = -np.log(2 * len(W))
            case "bias":
                W[:], b[:] = weights.start, 0
            case "scale":
                _start_scales(weights, random_state, W)
                b[:] = 0
    model.apply_masks(model.parameters)
    fit_norms(model.graph, model.sets(model.parameters), model.graph.state_views(model.layer_state))


def _start_scales(weights, random_state, W):
    W[:] = weights.start
    if weights.deviation:
        W += random_state.normal(scale=weights.deviation, size=W.shape)


def _fans(weights):
    """fan_in and fan_out that an initializer is to count; None: those of the weights' shape.

    Of a mask fan_in is that of each unit, fan_out the mean, and none less than 1.
    """
    if weights.mask is None:
        return weights.fans
    mask = weights.mask.array
    return mask.sum(axis=0).clip(1), max(mask.mean() * weights.n_out, 1.0)


def has_inputs_to_learn(model):
    """Whether some layer has learnt nothing yet of the rows that training begins with."""
    if not (model.learns_inputs or model.starts_from_data):
        return False
    states = model.graph.state_views(model.layer_state)
    return any(values[0] == 0 for name, values in states.items() if name.endswith(".n_samples"))


def learn_inputs(model, rows, order=None):
    """Give layers what they learn of the rows that training begins with, if they have learnt nothing yet: those that
    standardise X its mean and variance, those that cut it into bins quantiles, those with weight normalisation norms.

    Parameters
    ----------
    model : Model
    rows : Rows
    order : ndarray of int64, default=None
        Numbers of the rows to take; None: all.
    """
    if model.learns_inputs:
        model.layer_state[:] = _with_inputs(model, model.layer_state, rows.X, order, rows.sample_weight)
    if model.starts_from_data:
        _scale_products(model, rows, order)


def _scale_products(model, rows, order):
    """Start weight normalisation from some of the rows: layer by layer, ``z_j`` of mean 0 and variance 1."""
    graph, states, sets = model.graph, model.graph.state_views(model.layer_state), model.sets(model.parameters)
    weight = np.ones(rows.X.shape[0]) if rows.sample_weight is None else rows.sample_weight
    order = np.arange(len(weight)) if order is None else order
    order = order[weight[order] > 0]
    order = order[np.linspace(0, len(order) - 1, min(MOST_ROWS, len(order))).astype(np.intp)]
    for op in norm_ops(graph):
        n_samples = n_samples_of(graph, states, op)
        if n_samples is None or n_samples[0] > 0 or len(order) < 2:
            continue
        z = _value(model, model.snapshot(), rows.X[order], op.output, "z", 1)
        scale_to(sets, op, z, weight[order])
        n_samples[:] = len(order)


def _with_inputs(model, layer_state, X, order=None, sample_weight=None):
    """The layers' state with statistics of X, where there are none yet."""
    state, moments = layer_state.copy(), None
    views = list(model.graph.state_views(state).values())
    for op in model.graph.standardizing:
        mean, variance, n_samples = views[op.state : op.state + 3]
        if n_samples[0] == 0:
            with np.errstate(all="ignore"):
                moments = moments or column_moments(X, order, sample_weight)
            mean[:], spread, n_samples[:] = moments
            variance[:] = spread
            variance[(spread == 0) | (variance < np.finfo(model.dtype).tiny)] = 1
    for op in model.graph.binning:
        bounds, n_samples = views[op.state : op.state + 2]
        if n_samples[0] == 0:
            columns = model.graph.columns_of_inputs(op.input)
            n_bins = len(bounds) // len(columns) - 1
            with np.errstate(all="ignore"):
                found, n_samples[:] = column_bounds(X, columns, n_bins, model.dtype, order, sample_weight)
            bounds[:] = found.ravel()
    return state


def column_moments(X, order=None, sample_weight=None):
    """Weighted mean and variance of the columns of X, in double and in one pass over blocks of rows.

    Each block's mean comes first, and squares around it; blocks are joined by the formula of [1]_. A variance that is
    no more than rounding is 0. CSR has the mean 0, and the variance around its mean.

    Returns
    -------
    mean, variance : ndarray of shape (n_columns,)
    n_samples : int
        Rows that have weight.

    References
    ----------
    .. [1] T. Chan, G. Golub and R. LeVeque, "Updating formulae and a pairwise algorithm for computing sample
       variances", 1979.
    """
    n, n_columns = X.shape if order is None else (len(order), X.shape[1])
    total, mean, squares, n_samples = 0.0, np.zeros(n_columns), np.zeros(n_columns), 0
    size = max(1, 2**18 // n_columns)
    for i in range(0, n, size):
        rows = slice(i, i + size) if order is None else order[i : i + size]
        x = X[rows]
        w = np.ones(x.shape[0]) if sample_weight is None else sample_weight[rows]
        if not w.all():  # rows without weight may hold anything
            x, w = x[w > 0], w[w > 0]
        weight = w.sum()
        if weight == 0:
            continue
        centre, around = _moments_of_csr(x, w) if issparse(x) else _moments(x.astype(np.float64), w)
        distance, n_samples = centre - mean, n_samples + len(w)
        squares += around + distance**2 * (total * weight / (total + weight))
        total += weight
        mean += distance * (weight / total)
    variance = squares / (total or 1)
    rounding = n_samples * np.finfo(np.float64).eps
    variance[variance <= rounding * variance + (rounding * mean) ** 2] = 0
    return np.zeros_like(mean) if issparse(X) else mean, variance, n_samples


def _moments(x, w):
    """Mean of columns, and the weighted sum of squares around it."""
    mean = w @ x / w.sum()
    return mean, w @ (x - mean) ** 2


def _moments_of_csr(x, w):
    """The same from nonzeros."""
    n, total = x.shape[1], w.sum()
    w, values = np.repeat(w, np.diff(x.indptr)), x.data.astype(np.float64)
    mean = np.bincount(x.indices, w * values, n) / total
    others = total - np.bincount(x.indices, w, n)  # weight of the zeros
    return mean, np.bincount(x.indices, w * (values - mean[x.indices]) ** 2, n) + others * mean**2


def lsuv(model, random_state, X, n_threads):
    """What `Network.init_lsuv` does."""
    if any(weights.role == "centre" for weights in model.graph.weights):
        raise ValueError(f"init_lsuv is for networks of Dense, init_centres for RBF, got {model.layers!r}")
    X = _check_samples(model, X, n_threads)
    with threads.exclusive(model.engine), Undo() as undo:
        undo.save_draws(random_state)
        state = _with_inputs(model, model.graph.initial_state(model.dtype), X)
        states = model.graph.state_views(state)
        snapshot = parameters, *_ = np.zeros_like(model.parameters), state, model.masks
        for op in norm_ops(model.graph):
            if (n_samples := n_samples_of(model.graph, states, op)) is not None:
                n_samples[:] = X.shape[0]
        for weights, (W, _) in zip(model.graph.weights, model.sets(parameters), strict=True):
            if weights.role == "scale":
                _start_scales(weights, random_state, W)
        for op, (W, b) in _first_uses(model.graph, model.sets(parameters)):
            if op.kind == "embed":
                initialize(model.graph.weights[op.weights].layer.initializer, random_state, W, b, "identity")
                continue
            initialize("orthogonal", random_state, W, b, "identity")
            model.apply_masks(parameters)
            deviation = _value(model, snapshot, X, op.output, "z", n_threads).std(dtype=np.float64)
            if not np.finfo(model.dtype).tiny < deviation < np.inf:
                name = model.graph.values[op.output].name
                raise ValueError(f"X must make every z vary; its variance is {deviation**2} in layer {name}")
            W /= deviation
            fit_norms(model.graph, model.sets(parameters), states, op.weights)
        model.start_from(snapshot)


def centres(model, random_state, X, n_threads):
    """What `Network.init_centres` does."""
    X = _check_samples(model, X, n_threads)
    with threads.exclusive(model.engine), Undo() as undo:
        undo.save_draws(random_state)
        state = _with_inputs(model, model.layer_state, X)
        snapshot = parameters, *_ = model.parameters.copy(), state, model.masks
        for op, (W, b) in _first_uses(model.graph, model.sets(parameters)):
            if op.kind != "rbf":
                continue
            H = np.asarray(_value(model, snapshot, X, op.input, "a", n_threads), model.dtype)  # as the core sees it
            n_units = len(b)
            W[:] = H[random_state.choice(len(H), n_units, replace=len(H) < n_units)].T
            distance = cdist(H, W.T, "sqeuclidean").mean()
            if not np.finfo(model.dtype).tiny < distance < np.inf:
                name = model.graph.values[op.output].name
                raise ValueError(
                    f"X must make the inputs of an RBF vary; their mean squared distance from the centres is "
                    f"{distance} in layer {name}"
                )
            b[:] = -np.log(distance)
        model.start_from(snapshot)


def _check_samples(model, X, n_threads):
    """X as the core reads it, for new parameters from data."""
    X = model.check_X(X)
    assert_all_finite(X.data if issparse(X) else X, input_name="X")
    if X.shape[0] == 0:
        raise ValueError("X must have at least one row, got 0")
    threads.check_n_threads(n_threads)
    return X


def _first_uses(graph, sets):
    """The op that first uses W, and W and b, for each of the graph's weights but biases alone and scales, in their
    order."""
    seen = {i for i, weights in enumerate(graph.weights) if weights.role == "scale"}
    for op in graph.forward:
        if op.kind in ("dense", "sparse", "rbf", "embed") and op.weights not in seen:
            seen.add(op.weights)
            yield op, sets[op.weights]


def _value(model, snapshot, X, value, part, n_threads):
    """What a value of the graph, its z or its a, is with these parameters and layers' state."""
    if value == 0:
        return X
    engine = engine_of(model.graph, [(value, part)], model.dtype)
    return predicted(engine, *snapshot[:2], X, None, None, X.shape[0], n_threads)
