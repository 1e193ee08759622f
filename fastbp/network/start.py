"""Parameters to start from: drawn, or by rules that look at data."""

import numpy as np
from scipy.sparse import issparse
from scipy.spatial.distance import cdist
from sklearn.utils import assert_all_finite, check_random_state

from .. import threads
from ..initializers import initialize
from ..layers import RBF, Dense
from ..undo import Undo
from .model import Model


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


def draw(model, random_state):
    """Draw the parameters, layer by layer, as the layers' rules or the network's say."""
    for layer, W, b in zip(model.layers, model.weights, model.biases, strict=True):
        if isinstance(layer, RBF):
            W[:] = random_state.normal(size=W.shape)
            b[:] = -np.log(2 * len(W))
        else:
            initialize(layer.initializer or model.initializer, random_state, W, b, model.layers[0].activation)


def lsuv(model, random_state, X, n_threads):
    """What `Network.init_lsuv` does."""
    if not all(isinstance(layer, Dense) for layer in model.layers):
        raise ValueError(f"init_lsuv is for networks of Dense, init_centres for RBF, got {model.layers!r}")
    H = _check_samples(model, X, n_threads)
    with threads.exclusive(model.engine), Undo() as undo:
        undo.save_draws(random_state)
        parameters = np.empty_like(model.parameters)
        for i, (layer, W, b) in enumerate(zip(model.layers, *model.views(parameters), strict=True)):
            initialize("orthogonal", random_state, W, b, layer.activation)
            deviation = _outputs(Dense(layer.n_units), W, b, H, n_threads).std(dtype=np.float64)
            if not np.finfo(model.dtype).tiny < deviation < np.inf:
                raise ValueError(f"X must make every z vary; its variance is {deviation**2} in layer {i}")
            W /= deviation
            H = _outputs(layer, W, b, H, n_threads)
        model.start_from(parameters)


def centres(model, random_state, X, n_threads):
    """What `Network.init_centres` does."""
    H = _check_samples(model, X, n_threads)
    with threads.exclusive(model.engine), Undo() as undo:
        undo.save_draws(random_state)
        parameters = model.parameters.copy()
        for i, (layer, W, b) in enumerate(zip(model.layers, *model.views(parameters), strict=True)):
            if isinstance(layer, RBF):
                H = np.asarray(H, model.dtype)  # as the core sees it
                few = len(H) < layer.n_units
                W[:] = H[random_state.choice(len(H), layer.n_units, replace=few)].T
                distance = cdist(H, W.T, "sqeuclidean").mean()
                if not np.finfo(model.dtype).tiny < distance < np.inf:
                    raise ValueError(
                        f"X must make the inputs of an RBF vary; their mean squared distance from the centres is "
                        f"{distance} in layer {i}"
                    )
                b[:] = -np.log(distance)
            H = _outputs(layer, W, b, H, n_threads)
        model.start_from(parameters)


def _check_samples(model, X, n_threads):
    """X as the core reads it, for new parameters from data."""
    X = model.check_X(X)
    assert_all_finite(X.data if issparse(X) else X, input_name="X")
    if X.shape[0] == 0:
        raise ValueError("X must have at least one row, got 0")
    threads.check_n_threads(n_threads)
    return X


def _outputs(layer, W, b, H, n_threads):
    """What a layer with these parameters makes of its inputs H."""
    bare = RBF(layer.n_units) if isinstance(layer, RBF) else Dense(layer.n_units, layer.activation)
    parameters = np.concatenate([W.ravel(), b])
    return Model([bare], len(W), dtype=W.dtype, parameters=parameters).predict(H, n_threads=n_threads)
