"""Products of the Hessian with vectors, exact, in plain NumPy.

``R{.}`` is the derivative along ``(V, c)``, a direction in the space of weights and biases. Samples are rows, ``*`` is
elementwise, ``S`` holds the sample weights divided by their sum. With the passes of backpropagation

    ``A_0 = X``, ``Z_l = A_(l-1) W_l + b_l``, ``A_l = f_l(Z_l)``
    ``E_L = S * dC/dA_L``, ``D_l = E_l * f_l'(Z_l)``, ``E_(l-1) = D_l W_l^T``
    ``dC/dW_l = A_(l-1)^T D_l``, ``dC/db_l = sum of rows of D_l``

differentiating each line gives

    ``R{A_0} = 0``, ``R{Z_l} = R{A_(l-1)} W_l + A_(l-1) V_l + c_l``, ``R{A_l} = f_l'(Z_l) * R{Z_l}``
    ``R{E_L} = S * d2C/dA_L2 R{A_L}``, ``R{D_l} = R{E_l} * f_l'(Z_l) + E_l * f_l''(Z_l) * R{Z_l}``,
    ``R{E_(l-1)} = R{D_l} W_l^T + D_l V_l^T``
    ``R{dC/dW_l} = R{A_(l-1)}^T D_l + A_(l-1)^T R{D_l}``, ``R{dC/db_l} = sum of rows of R{D_l}``

and the last line is the product ``H (V, c)``, at about twice the cost of a gradient.

References
----------
B. Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6, 1994. Notes 001 (Hessian technique).
"""

import numpy as np
from scipy.special import expit, softmax

# Largest network whose Hessian, a dense matrix, is formed: 200 MB in float64.
MAX_PARAMETERS = 5000

# Unit: f(z), and f' and f'' from z and a = f(z).
UNITS = {
    "identity": (lambda z: z, lambda z, a: np.ones_like(z), lambda z, a: np.zeros_like(z)),
    "logistic": (expit, lambda z, a: a * (1 - a), lambda z, a: a * (1 - a) * (1 - 2 * a)),
    "tanh": (np.tanh, lambda z, a: 1 - a * a, lambda z, a: -2 * a * (1 - a * a)),
    "relu": (lambda z: np.maximum(z, 0), lambda z, a: (z > 0).astype(z.dtype), lambda z, a: np.zeros_like(z)),
}

# Loss of a sample as a function of z, what the last layer returns: its gradient, and its Hessian times r.
LOSSES = {
    "squared_error": (lambda z, y: z - y, lambda z, y, r: r),
    "cross_entropy": (lambda z, y: expit(z) - y, lambda z, y, r: expit(z) * expit(-z) * r),
    "softmax_cross_entropy": (
        lambda z, y: softmax(z, axis=1) * _sum(y) - y,
        lambda z, y, r: softmax(z, axis=1) * (r - _sum(softmax(z, axis=1) * r)) * _sum(y),
    ),
    "poisson": (lambda z, y: np.exp(z) - y, lambda z, y, r: np.exp(z) * r),
}


def _sum(a):
    return a.sum(axis=1, keepdims=True)


def hessian_products(weights, biases, activations, loss, X, y, labels=None, sample_weight=None):
    """The Hessian of a data cost as a linear map; the passes that all products share are made once.

    Parameters
    ----------
    weights, biases : sequences of ndarray
        Of all layers; their dtype is that of the arithmetic. Not to be changed while the map is in use.
    activations : sequence of str
    loss : str
    X : ndarray or CSR matrix of shape (n_samples, n_inputs)
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs), or None if there are labels
    labels : int ndarray of shape (n_samples,), default=None
        Class indices.
    sample_weight : ndarray of shape (n_samples,), default=None

    Returns
    -------
    product : callable
        ``product(V, c)`` takes a direction as sequences of arrays like weights and biases, and returns ``H (V, c)``
        as two lists of such arrays.
    """
    n, dtype = X.shape[0], weights[0].dtype
    last = len(weights) - 1
    if labels is not None:
        y = np.zeros((n, biases[-1].size), dtype)
        y[np.arange(n), labels] = 1
    y = y.reshape(n, -1).astype(dtype, copy=False)
    s = np.full(n, 1 / n) if sample_weight is None else sample_weight / sample_weight.sum()
    s = s.astype(dtype)[:, None]
    loss_gradient, loss_curvature = LOSSES[loss]

    A, slopes, bends = [X.astype(dtype, copy=False)], [], []  # A_l, f'(Z_l), f''(Z_l)
    for W, b, activation in zip(weights, biases, activations, strict=True):
        f, first, second = UNITS[activation]
        Z = A[-1] @ W + b
        A.append(f(Z))
        slopes.append(first(Z, A[-1]))
        bends.append(second(Z, A[-1]))
    D, E = [None] * len(weights), s * loss_gradient(A[-1], y)
    for i in range(last, -1, -1):
        D[i] = E * slopes[i]
        bends[i] *= E  # E_l * f''(Z_l), as R{D_l} needs it
        E = D[i] @ weights[i].T if i else None

    def product(V, c):
        RA, RZ = [None], []
        for i, W in enumerate(weights):
            RZ.append(A[i] @ V[i] + c[i])
            if i:
                RZ[i] += RA[i] @ W
            RA.append(slopes[i] * RZ[i])
        RE, HV, Hc = s * loss_curvature(A[-1], y, RA[-1]), [None] * len(weights), [None] * len(weights)
        for i in range(last, -1, -1):
            RD = RE * slopes[i] + bends[i] * RZ[i]
            HV[i], Hc[i] = A[i].T @ RD, RD.sum(axis=0)
            if i:
                HV[i] += RA[i].T @ D[i]
                RE = RD @ weights[i].T + D[i] @ V[i].T
        return HV, Hc

    return product
