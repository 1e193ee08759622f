"""Networks that are no chains, and data for them."""

import numpy as np

from fastbp import (
    RBF,
    Activation,
    BatchNorm,
    Dense,
    GroupNorm,
    LayerNorm,
    LeakyReLU,
    LowRank,
    Network,
    Parallel,
    Periodic,
    PReLU,
    Residual,
    Scale,
    Shared,
    Sparse,
)

N_INPUTS = 5
CODE = Shared(Dense(4, "tanh", l2=0.3))
SQUARE = Shared(Residual([Dense(5, "silu", l2=0.2), Dense(5)]), name="square")
STRETCH, SLOPES = Shared(Scale()), Shared(PReLU(0.1))
NETWORKS = {
    "activation": [Dense(6), Activation("tanh"), Dense(3), Activation(LeakyReLU(0.3))],
    "residual": [Dense(6, "tanh"), Residual([Dense(8, "gelu"), Dense(6)]), Activation("softplus"), Dense(2)],
    "projection": [Residual([Dense(6, "tanh"), Residual([Dense(4, "elu"), Dense(3)], "linear")], "linear"), Dense(2)],
    "concatenated": [Parallel([[], [Dense(3, "tanh"), Dense(2, "silu")], [Activation("softmax")]]), Dense(2)],
    "added": [Parallel([[Dense(4, "tanh")], [RBF(4)], [Dense(4), Activation("softmax")]], "add"), Dense(2)],
    "shared": [Dense(5, "tanh"), SQUARE, Activation("tanh"), SQUARE, SQUARE, Dense(1)],
    "transposed": [CODE, CODE.transposed("tanh"), CODE, CODE.transposed()],
    "siamese": [Parallel([[CODE], [Activation("tanh"), CODE]]), Dense(2)],
    "radial": [Dense(4), Residual([RBF(4)]), Parallel([[RBF(3)], []]), Shared(RBF(6)), Dense(2)],
    "low rank": [LowRank(6, 2, "tanh", l2=0.2), Residual([LowRank(6, 3)]), Shared(LowRank(4, 1, "gelu")), Dense(2)],
    "scaled": [
        Scale(), Dense(6), Scale(bias=False), Activation("tanh"), STRETCH, Residual([Dense(6, "silu"), STRETCH]),
        Parallel([[Dense(2)], [Scale()]]), Scale(),
    ],
    "normalized rows": [
        LayerNorm(0.1, affine=False), Dense(6), GroupNorm(2, 0.1), Activation("tanh"),
        Residual([LayerNorm(), Dense(6, "silu")]), Parallel([[GroupNorm(2, 0.5)], [LayerNorm()], []]), Dense(2),
    ],
    "slopes": [PReLU(), Dense(6), PReLU(-0.5), Parallel([[PReLU()], [Dense(3), SLOPES]]), Dense(2), PReLU()],
    "sparse": [
        Sparse(6, columns=[[0, 4, 2, 1, 3, 3], [1, 2, 0, 1, 0, 4]], activation="tanh"), Dense(4, "gelu"),
        Residual([Sparse(4, columns=[[3, 0, 1, 2]])]), Parallel([[Sparse(2, columns=[[0, 1]])], []]),
    ],
    "numerical": [
        Parallel([[Periodic(2, 0.1, 3, "tanh")], [Periodic(1, 0.3, 2)]]), Dense(3, "sin"),
        Shared(Periodic(1, 0.2, 2, "cos")), Dense(2),
    ],
    "no weights first": [Activation("silu"), Residual([Activation("tanh")]), Dense(3)],
    "output of parts": [Dense(3, "tanh"), Parallel([[Dense(2)], [], [Dense(1, "tanh")]])],
    "everything": [
        Parallel([[CODE], [Dense(3, "silu")], []]),
        Residual([Dense(5), SQUARE, Activation("tanh"), Dense(6)], projection="linear"),
        Dense(4), CODE.transposed(), Activation("tanh"), SQUARE, Scale(), Activation("tanh"), SQUARE,
        Parallel([[Residual([RBF(5)])], [Dense(5)]], "add"), Dense(2),
    ],
}  # fmt: skip


# In training these are other functions than elsewhere: they have statistics of the batch.
BATCH_NORM = {
    "chain": [Dense(6), BatchNorm(), Activation("tanh"), Dense(4), BatchNorm(0.3, 0.1, affine=False), Dense(2)],
    "at the ends": [BatchNorm(), Dense(3, "tanh"), BatchNorm(affine=False), Activation("silu"), Dense(2), BatchNorm()],
    "branches": [
        Parallel([[Dense(4), BatchNorm()], [BatchNorm(affine=False), Activation("tanh")]]), Activation("gelu"),
        Residual([BatchNorm(), Activation("tanh"), Dense(9), BatchNorm(), LayerNorm()]), Dense(2),
    ],
    "shared": [Dense(5), *[Shared(BatchNorm(), name="norm"), SQUARE, Activation("tanh")] * 2, Dense(1)],
}  # fmt: skip


def network(layers, seed=0, **settings):
    net = Network(layers, n_inputs=N_INPUTS, random_state=seed, **settings)
    net.parameters[:] += np.random.default_rng(seed).normal(scale=0.1, size=net.parameters.size)
    return net


def data(rng, net, n=11):
    return rng.normal(size=(n, N_INPUTS)), rng.random((n, net.predict(np.zeros((1, N_INPUTS))).shape[1]))
