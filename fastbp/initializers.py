"""Initial weights."""

import numpy as np


def glorot_uniform(random_state, fan_in, fan_out, activation, weights, biases):
    """Fill weights and biases with draws from ``U(-b, b)``, ``b = sqrt(6 / (fan_in + fan_out))``.

    For the logistic sigmoid, whose slope at 0 is 1/4, the 6 is a 2. Draws are made in float64, weights first, as
    scikit-learn makes them, so that the same seed gives the same network.

    Parameters
    ----------
    random_state : numpy.random.RandomState
    fan_in, fan_out : int
    activation : str
        Name of the hidden units' activation.
    weights : ndarray of shape (fan_in, fan_out)
    biases : ndarray of shape (fan_out,)

    References
    ----------
    Notes 003 (Xavier initialization). X. Glorot and Y. Bengio, "Understanding the difficulty of training deep
    feedforward neural networks", AISTATS 2010.
    """
    bound = np.sqrt((2 if activation == "logistic" else 6) / (fan_in + fan_out))
    weights[:] = random_state.uniform(-bound, bound, weights.shape)
    biases[:] = random_state.uniform(-bound, bound, biases.shape)
