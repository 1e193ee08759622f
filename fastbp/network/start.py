"""Parameters to start from: drawn, or by rules that look at data."""

import numpy as np
from scipy.sparse import issparse
from scipy.spatial.distance import cdist
from sklearn.utils import assert_all_finite, check_random_state

from .. import threads
from ..initializers import initialize
from ..layers import RBF, Dense


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


def draw(net):
    """Draw the parameters, layer by layer, as the layers' rules or the network's say."""
    for layer, W, b in zip(net.layers, net.weights, net.biases, strict=True):
        if isinstance(layer, RBF):
            W[:] = net._random_state.normal(size=W.shape)
            b[:] = -np.log(2 * len(W))
        else:
            initialize(layer.initializer or net.initializer, net._random_state, W, b, net.layers[0].activation)


def lsuv(net, X, n_threads):
    """What `Network.init_lsuv` does."""
    if not all(isinstance(layer, Dense) for layer in net.layers):
        raise ValueError(f"init_lsuv is for networks of Dense, init_centres for RBF, got {net.layers!r}")
    H = _check_samples(net, X, n_threads)
    with threads.exclusive(net):
        draws, parameters = net._random_state.get_state(), np.empty_like(net.parameters)
        for i, (layer, W, b) in enumerate(zip(net.layers, *net._views(parameters), strict=True)):
            initialize("orthogonal", net._random_state, W, b, layer.activation)
            linear = net._of_one_layer(Dense(layer.n_units), W, b)
            deviation = linear.predict(H, n_threads=n_threads).std(dtype=np.float64)
            if not np.finfo(net.dtype).tiny < deviation < np.inf:
                net._random_state.set_state(draws)
                raise ValueError(f"X must make every z vary; its variance is {deviation**2} in layer {i}")
            W /= deviation
            H = net._of_one_layer(layer, W, b).predict(H, n_threads=n_threads)
        _start_from(net, parameters)


def centres(net, X, n_threads):
    """What `Network.init_centres` does."""
    H = _check_samples(net, X, n_threads)
    with threads.exclusive(net):
        draws, parameters = net._random_state.get_state(), net.parameters.copy()
        for i, (layer, W, b) in enumerate(zip(net.layers, *net._views(parameters), strict=True)):
            if isinstance(layer, RBF):
                H = np.asarray(H, net.dtype)  # as the core sees it
                few = len(H) < layer.n_units
                W[:] = H[net._random_state.choice(len(H), layer.n_units, replace=few)].T
                distance = cdist(H, W.T, "sqeuclidean").mean()
                if not np.finfo(net.dtype).tiny < distance < np.inf:
                    net._random_state.set_state(draws)
                    raise ValueError(
                        f"X must make the inputs of an RBF vary; their mean squared distance from the centres is "
                        f"{distance} in layer {i}"
                    )
                b[:] = -np.log(distance)
            H = net._of_one_layer(layer, W, b).predict(H, n_threads=n_threads)
        _start_from(net, parameters)


def _check_samples(net, X, n_threads):
    """X as the core reads it, for new parameters from data."""
    X = net._check_X(X)
    assert_all_finite(X.data if issparse(X) else X, input_name="X")
    if X.shape[0] == 0:
        raise ValueError("X must have at least one row, got 0")
    threads.check_n_threads(n_threads)
    return X


def _start_from(net, parameters):
    """Give the network these parameters, and drop what belongs to those before."""
    net.parameters[:] = parameters
    net._engine.forget()
    net._reset_optimizer()
