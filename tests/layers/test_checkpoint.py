"""Values that are made again on the way back: the same bits in less memory."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy import sparse

from fastbp import (
    RBF,
    SGD,
    Activation,
    Adam,
    BatchNorm,
    Checkpoint,
    Dense,
    Dropout,
    LayerNorm,
    LowRank,
    Network,
    Parallel,
    PReLU,
    Residual,
    Scale,
    Shared,
    Sparse,
    Standardize,
    WeightNorm,
)
from fastbp.graph import fused, sections_of
from fastbp.layers import build

DEEP = [
    Dense(20, "gelu", dropout=0.2),
    Residual([Dense(9, "tanh"), Activation("relu"), Dense(20)]),
    Scale(),
    BatchNorm(),
    LayerNorm(),
    Dropout(0.3),
    LowRank(15, 3),
    Sparse(12, 4, "tanh"),
    PReLU(),
    RBF(7),
    Parallel([[Dense(5, "softmax")], [Dense(3, "elu"), Dense(4)]]),
    Dense(6, "relu", max_norm=0.5),
    Dense(17, "silu"),
]


def trained(layers, X, y, dtype="float64", n_threads=1, optimizer=None, batch_size=25, **given_settings):
    net = Network(
        layers, n_inputs=X.shape[1], dtype=dtype, random_state=0, loss="softmax_cross_entropy", **given_settings
    )  # fmt: skip
    history = net.fit(
        X, y, optimizer=optimizer or Adam(0.01), epochs=3, batch_size=batch_size, n_threads=n_threads,
        sample_weight=np.arange(len(y)) % 3,
    )  # fmt: skip
    return net, net.parameters, history.loss, net.value_and_gradient(X, y)[1]


def problem(n=100):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 11)), rng.integers(0, 4, n)


@pytest.mark.parametrize("first", [
    [Activation("tanh"), Dense(9)], [LayerNorm()], [Parallel([[Activation("tanh")], []]), Dense(9)],
    [LayerNorm(), WeightNorm(Dense(5))],
], ids=str)  # fmt: skip
@pytest.mark.parametrize("n_threads", [1, 2])
def test_weights_behind_values_that_learn_nothing(first, n_threads):
    """What the first weights read is made again for them, though no gradient goes there."""
    X, y = problem()
    _, *expected = trained([*first, Dense(4)], X, y)
    for checkpoints in ({}, {"checkpoint_every": len(first)}):
        layers = [*first, Dense(4)] if checkpoints else [Checkpoint(first), Dense(4)]
        for a, b in zip(trained(layers, X, y, n_threads=n_threads, **checkpoints)[1:], expected, strict=True):
            assert_array_equal(a, b)


@pytest.mark.parametrize("first", [
    [Dense(13, "tanh"), Dense(3)], [Standardize(), Dense(300, "tanh"), Dense(3)],
], ids=["dense", "standardized"])  # fmt: skip
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_lists_of_nonzeros(first, kind, n_threads):
    """Lists of the columns of X are there when the first weights are updated, which is on the way back."""
    X, y = problem()
    X = kind(np.hstack([X, np.zeros((100, 200))]) * (np.arange(211) % 7 == 0))
    expected = trained([*first, Dense(4)], X, y)[1:]
    found = trained([*first, Dense(4)], X, y, n_threads=n_threads, checkpoint_every=3)[1:]
    for a, b in zip(found, expected, strict=True):
        assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("every", [1, 2, 3, 5, 20])
def test_same_bits(dtype, n_threads, every):
    X, y = problem()
    layers = [*DEEP, Dense(4)]
    _, *expected = trained(layers, X, y, dtype)
    for a, b in zip(trained(layers, X, y, dtype, n_threads, checkpoint_every=every)[1:], expected, strict=True):
        assert_array_equal(a, b)
    inner = [Checkpoint(DEEP[i : i + every]) for i in range(0, len(DEEP), every)]
    for a, b in zip(trained([*inner, Dense(4)], X, y, dtype, n_threads)[1:], expected, strict=True):
        assert_array_equal(a, b)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize(
    "given_settings",
    [{"optimizer": SGD(0.1, clip_norm=0.1)}, {"l1": 0.01, "l2": 0.1}, {"ties": [(1, 2, 0.5), (2, 3, 0.1)]},
     {"input_noise": 0.1, "input_dropout": 0.2}],
)  # fmt: skip
def test_same_bits_with_settings(given_settings, n_threads):
    X, y = problem()
    layers = [Dense(20, "tanh"), *[Dense(20, "tanh") for _ in range(6)], Dense(4)]
    _, *expected = trained(layers, X, y, **given_settings)
    _, *found = trained(layers, X, y, n_threads=n_threads, checkpoint_every=3, **given_settings)
    for a, b in zip(found, expected, strict=True):
        assert_array_equal(a, b)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_same_bits_of_wide_layers_in_chunks(n_threads):
    """By columns, with H^T, halves of a middle stripe, and batches of several chunks."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(900, 300)).astype("f"), rng.integers(0, 4, 900)
    layers = [Dense(300, "relu"), Dense(300, "gelu", dropout=0.1), Dense(260, "tanh"), Dense(48, "relu"), Dense(4)]
    kwargs = {"dtype": "float32", "batch_size": 900, "optimizer": SGD(0.1, momentum=0.9)}
    _, *expected = trained(layers, X, y, **kwargs)
    net, *found = trained(layers, X, y, n_threads=n_threads, checkpoint_every=3, **kwargs)
    for a, b in zip(found, expected, strict=True):
        assert_array_equal(a, b)
    assert net.program("train", batch_size=900).chunk < 900


def test_csr():
    rng = np.random.default_rng(0)
    X, y = sparse.random(200, 3000, 0.01, "csr", "f4", rng), rng.integers(0, 4, 200)
    layers = [Dense(20, "tanh"), Dense(20, "tanh"), Dense(20, "tanh"), Dense(4)]
    expected = trained(layers, X, y, "float32", optimizer=SGD(0.1))[1]
    assert_array_equal(trained(layers, X, y, "float32", optimizer=SGD(0.1), checkpoint_every=2)[1], expected)


def test_memory_and_program():
    """Sixteen layers of 64 in fours need half of the values' memory and less; what is made again is in the program."""
    layers = [Dense(64, "relu") for _ in range(16)] + [Dense(1)]
    whole = Network(layers, n_inputs=64)
    net = Network(layers, n_inputs=64, checkpoint_every=4)
    weights = 2 * whole.parameters.nbytes  # packed, and transposed
    sizes = [n.program("train", batch_size=256).workspace_size - weights for n in (whole, net)]
    assert sizes[1] < 0.6 * sizes[0]
    kinds = [op.kind for phase in net.program("train", batch_size=256).phases for op in phase.ops]
    assert kinds.count("dense") == 17 + 3 * 4
    assert kinds.count("update") == 5
    assert [op.kind for phase in net.program("loss", batch_size=256).phases for op in phase.ops].count("dense") == 17


def test_what_is_kept():
    """The ends of sections, and values of sections whose weights are used elsewhere; a joint tail keeps its value."""

    def kept(layers, every=None):
        graph = fused(build(layers, 3, every))
        return [value.name for value, section in zip(graph.values, sections_of(graph), strict=True) if section < 0]

    assert kept([Dense(3) for _ in range(7)], 3) == ["X", "2", "5", "6"]
    assert kept([Checkpoint([Dense(3), Dense(3)]), Activation("relu"), Dense(3)]) == ["X", "0.1", "2"]
    assert kept([Checkpoint([Checkpoint([Dense(3), Dense(3)]), Dense(3)]), Dense(3)]) == ["X", "0.1", "1"]
    shared = Shared(Dense(3))
    assert kept([shared, Dense(3), shared, Dense(3), Dense(3), Dense(3)], 2) == ["X", "0", "1", "2", "3", "5"]
    assert kept([Checkpoint([shared, shared, Dense(3)]), Dense(3)]) == ["X", "0.2", "1"]
    heads = Parallel({"a": [Dense(3), Dense(2)], "b": [Dense(1)]})
    assert kept([Dense(3), Dense(3), heads], 2) == ["X", "1", "2.a.0", "2.a.1", "2.b.0"]


@settings(deadline=None, max_examples=25)
@given(
    widths=st.lists(st.integers(1, 40), min_size=2, max_size=9),
    every=st.integers(1, 5),
    units=st.sampled_from(["tanh", "gelu", "softmax"]),
    batch=st.sampled_from([3, 30]),
    n_threads=st.integers(1, 3),
)
def test_same_bits_of_any_chain(widths, every, units, batch, n_threads):
    X, y = problem(30)
    layers = [*(Dense(n, units, dropout=0.1 * (i % 2)) for i, n in enumerate(widths)), Dense(4)]
    expected = trained(layers, X, y, batch_size=batch)[1]
    found = trained(layers, X, y, batch_size=batch, n_threads=n_threads, checkpoint_every=every)[1]
    assert_array_equal(found, expected)


def test_copies_and_files(tmp_path):
    X, y = problem()
    net = trained([Checkpoint(DEEP[:3]), *DEEP[3:], Dense(4)], X, y, checkpoint_every=2)[0]
    net.save(tmp_path / "net.npz")
    for other in (copy.deepcopy(net), Network.load(tmp_path / "net.npz")):
        assert other.checkpoint_every == 2
        assert other.layers == net.layers
        assert_array_equal(other.predict(X), net.predict(X))
    plain = Network([*DEEP, Dense(4)], n_inputs=11, loss="softmax_cross_entropy", random_state=0)
    plain.parameters[:] = net.parameters
    for a, b in zip(plain.layer_state.values(), net.layer_state.values(), strict=True):
        a[:] = b
    for n in (net, plain):
        n.forward(X)
    dz = np.ones((100, 4))
    for a, b in zip(net.backward(dz), plain.backward(dz), strict=True):
        assert_array_equal(a, b)


@pytest.mark.parametrize("every", [0, -1, 1.5, "all"])
def test_bad_settings(every):
    with pytest.raises(ValueError, match="checkpoint_every must be"):
        Network([Dense(2)], n_inputs=2, checkpoint_every=every)
    with pytest.raises(ValueError, match=r"layers\[0\] must be a layer, got "):
        Checkpoint([every])
