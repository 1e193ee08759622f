"""What tests of networks share: losses, units, rules, small networks and data, differences."""

import numpy as np
import reference
from numpy.testing import assert_allclose, assert_array_equal

from fastbp import (
    BFGS,
    ELU,
    LBFGS,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Dense,
    Huber,
    LeakyReLU,
    Lp,
    Network,
    Newton,
    NewtonCG,
    Quantile,
    Quickprop,
    RMSProp,
    Rprop,
    SoftmaxCrossEntropy,
)
from fastbp.graph import backward_of
from fastbp.graph.reference import forward, run, split
from fastbp.layers import build
from fastbp.losses import kernel_of

LOSSES = [
    "squared_error", "cross_entropy", "softmax_cross_entropy", "poisson", "absolute_error", Lp(2.5), Lp(3), "huber",
    Huber(0.3), "quantile", Quantile(0.2), "perceptron", SoftmaxCrossEntropy(0.1),
    SoftmaxCrossEntropy(0.2, fixed_logit=True),
]  # fmt: skip
ACTIVATIONS = [
    "identity", "logistic", "tanh", "relu", "hard_tanh", "leaky_relu", LeakyReLU(0.2), "elu", ELU(0.5), "selu",
    "softplus", "gelu", "silu", "mish", "relu2", "hard_sigmoid", "hard_swish", "sin", "cos",
    "softmax",
]  # fmt: skip
OPTIMIZERS = [
    SGD(0.1),
    SGD(0.05, momentum=0.9),
    SGD(0.05, momentum=0.9, nesterov=True),
    SGD(0.05, momentum=0.9, dampening=0.8, weight_decay=0.1, proximal=True),
    Adam(0.01),
    Adam(0.01, proximal=True),
    AdamW(0.01, epsilon=0.01, weight_decay=0.1),
    RMSProp(0.01),
    RMSProp(0.01, momentum=0.5),
    RMSProp(0.01, momentum=0.5, centered=True, epsilon=1e-3, proximal=True),
    Adagrad(0.1),
    SGD(0.1, momentum=0.9, clip_norm=0.2),
    Adam(0.01, clip_value=0.01),
]
FULL_BATCH = [Rprop(), Quickprop(), Newton(), NewtonCG(), BFGS(), LBFGS()]


def make(sizes, activation="tanh", loss="squared_error", dtype="float64", seed=0, output="identity", **settings):
    layers = [*(Dense(n, activation) for n in sizes[1:-1]), Dense(sizes[-1], output)]
    return Network(layers, n_inputs=sizes[0], loss=loss, dtype=dtype, random_state=seed, **settings)


def problem(rng, n, n_in, n_out, loss):
    """X, y as the network takes it, and y as the reference does."""
    X = rng.normal(size=(n, n_in))
    if kernel_of(loss)[0] == "softmax_cross_entropy":
        y = rng.integers(0, n_out, n)
        return X, y, reference.one_hot(y, n_out)
    y = rng.random((n, n_out))
    return X, *([y.round()] * 2 if loss == "perceptron" else [y] * 2)


def expected_gradient(net, X, Y, sample_weight=None):
    """Cost and gradient by the twins, in double precision."""
    graph, cost = build(net.layers, net.n_inputs), (*kernel_of(net.loss), 1.0)
    return run(graph, backward_of(graph), net.parameters.astype(float), X, [Y], [cost], sample_weight)[1:]


def expected_output(net, X):
    """What `forward` returns, by the twins, in double precision."""
    graph = build(net.layers, net.n_inputs)
    _, A = forward(graph, split(graph, net.parameters.astype(float)), X.astype(float))
    return A[graph.outputs[None]]


def central_differences(f, parameters, step=1e-6):
    gradient = np.empty_like(parameters)
    for i, p in enumerate(parameters):
        parameters[i] = p + step
        above = f()
        parameters[i] = p - step
        gradient[i] = (above - f()) / (2 * step)
        parameters[i] = p
    return gradient


def relative_error(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def differences(net, X, y, v, *args, **settings):
    """Central difference of the gradient along v."""
    w, gradients = net.parameters.copy(), []
    for step in (1e-6, -1e-6):
        net.parameters[:] = w + step * v
        gradients.append(net.value_and_gradient(X, y, *args, **settings)[1])
    net.parameters[:] = w
    return (gradients[0] - gradients[1]) / 2e-6


def check_hessian(rng, net, X, y, *args):
    n = net.parameters.size
    H = net.hessian(X, y, *args, penalty=True)
    assert_array_equal(H, H.T)
    columns = [differences(net, X, y, v, *args, penalty=True) for v in np.eye(n)]
    assert relative_error(H, np.array(columns)) < 1e-6
    v = rng.normal(size=n)
    product = net.hessian_vector_product(X, y, v, *args, penalty=True)
    assert relative_error(product, differences(net, X, y, v, *args, penalty=True)) < 1e-6
    assert_allclose(H @ v, product, rtol=1e-10, atol=1e-13)


def one_step(net, X, y, seed=3, batch_size=100, **settings):
    """Training cost of the one batch, and its gradient, as plain gradient descent takes it; net is as it was."""
    before = net.parameters.copy()
    net._model.optimizer_state = None
    record, _ = net._model.train_epoch(
        net._model.check_rows(X, y).data(), None, batch_size, SGD(1.0), random_state=np.random.RandomState(seed),
        **settings,
    )
    gradient = before - net.parameters
    net.parameters[:] = before
    return record[0, :2].sum(), gradient
