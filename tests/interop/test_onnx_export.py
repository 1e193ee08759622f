"""Networks in ONNX: ONNX Runtime gives what `predict` gives, for every unit, loss and layer."""

import numpy as np
import pytest
from graph_cases import BATCH_NORM, N_INPUTS, NETWORKS, network
from network_cases import LOSSES

import fastbp
from fastbp import (
    ELU,
    Activation,
    Checkpoint,
    Dense,
    Dropout,
    Embed,
    HistogramLoss,
    LeakyReLU,
    Network,
    Parallel,
    Periodic,
    PiecewiseLinear,
    Prune,
    Quantile,
    Residual,
    Shared,
    Sparse,
    SpectralNorm,
    Standardize,
    WeightNorm,
)
from fastbp._core import ACTIVATIONS, OPS
from fastbp.graph.gradient import RULES
from fastbp.graph.reference import FORWARD
from fastbp.layers import Layer
from fastbp.losses import CLASSES
from fastbp.losses import LOSSES as NAMES_OF_LOSSES

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from fastbp.onnx import ops, units  # noqa: E402

pytestmark = pytest.mark.once

BINS = HistogramLoss((0.0, 1.0, 3.0, 4.0, 6.0))
ALL_LOSSES = [*LOSSES, Quantile([0.1, 0.9]), "gaussian", BINS]
UNITS = [*sorted(set(ACTIVATIONS) - {"exp", "rbf"}), LeakyReLU(0.2), ELU(0.5)]  # those two belong to losses and RBF
MASK = np.arange(4 * 6).reshape(4, 6) % 3 > 0
MORE = {
    "masked": [Dense(4, "tanh"), Dense(6, mask=MASK), Dense(2)],
    "drawn": [Sparse(8, 3, "tanh"), Sparse(2, 2)],
    "standardized": [Standardize(), Dense(4, "tanh"), Dense(2)],
    "categories": [Embed({3: 4, 1: 3}, dim={3: 2, 1: 1}), Dense(4, "tanh"), Dense(2)],
    "categories alone": [Embed(dict.fromkeys(range(N_INPUTS), 4), dim=2), Dense(2)],
    "dropped": [Dense(4, "tanh", dropout=0.5), Dropout(0.2), Dense(2)],
    "checkpoints": [Checkpoint([Dense(4, "tanh"), Residual([Dense(4)])]), Dense(2)],
    "weights normalized": [WeightNorm(Dense(4, "tanh")), WeightNorm(Sparse(5, 2)), SpectralNorm(Dense(2, "tanh"))],
    "some numbers": [Periodic(2, 0.1, 3, columns=[4, 1]), Dense(2)],
    "numbers in bins": [PiecewiseLinear(4, 3, "tanh", columns=[4, 0, 2]), Dense(2)],
    "categories and numbers": [Embed({3: 4, 1: 3}, dim=2), PiecewiseLinear(3, columns=[0, 1, 2]), Dense(2)],
    "one unit": [Dense(1, "tanh"), Residual([Dense(1)])],
}
LAYERS = NETWORKS | {f"batch norm {name}": layers for name, layers in BATCH_NORM.items()} | MORE


def inputs(rng, dtype, n=7):
    """Rows that Embed can take too, some of them large."""
    X = rng.normal(size=(n, N_INPUTS)) * np.array([1, 1, 1, 3, 30, 1, 1])[:n, None]
    X[:, [1, 3]] = rng.integers(0, 3, (n, 2))
    return X.astype(dtype)


def run(model, X):
    """The outputs of ONNX Runtime by their names."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: X}), strict=True))


def assert_close(ours, theirs, dtype):
    tolerance = 1e-5 if dtype == "float32" else 1e-7  # attributes of operators, as a slope, are float32 anyway
    assert ours.dtype == theirs.dtype == dtype
    np.testing.assert_allclose(theirs, ours, rtol=tolerance, atol=tolerance)


def assert_same(net, X):
    """ONNX Runtime gives what the network predicts."""
    theirs, ours = run(net.to_onnx(), X), net.predict(X)
    for name, a in ours.items() if isinstance(ours, dict) else [("output", ours)]:
        assert_close(a, theirs.pop(name), net.dtype)
    assert not theirs


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


def heads_of_all_losses(layers):
    """Layers, with a head for each loss after them, and the losses."""
    heads = {f"head {i}": [Dense(4)] for i in range(len(ALL_LOSSES))}
    return {"layers": [*layers, Parallel(heads)], "loss": dict(zip(heads, ALL_LOSSES, strict=True))}


@pytest.mark.parametrize("unit", UNITS, ids=str)
def test_units_and_losses(rng, unit, dtype):
    settings = heads_of_all_losses([Dense(6, unit)])
    assert_same(Network(**settings, n_inputs=N_INPUTS, dtype=dtype, random_state=0), inputs(rng, dtype))


@pytest.mark.parametrize("loss", ALL_LOSSES, ids=str)
def test_losses_of_single_outputs(rng, loss, dtype):
    net = Network([Dense(4)], n_inputs=N_INPUTS, loss=loss, dtype=dtype, random_state=0)
    assert_same(net, inputs(rng, dtype))


@pytest.mark.parametrize("unit", UNITS, ids=str)
def test_units_of_outputs(rng, unit, dtype):
    net = Network([Dense(3, unit)], n_inputs=N_INPUTS, loss=None, dtype=dtype, random_state=0)
    assert_same(net, inputs(rng, dtype))


@pytest.mark.parametrize("is_output", [True, False], ids=["output", "below heads"])
@pytest.mark.parametrize("name", LAYERS)
def test_layers(rng, name, is_output, dtype):
    X = inputs(rng, dtype)
    if name == "categories alone":
        X = np.floor(abs(X) % 4)
    net = network(**{"layers": LAYERS[name]} if is_output else heads_of_all_losses(LAYERS[name]), dtype=dtype)
    for state in net.layer_state.values():
        state += np.sort(rng.random(state.shape))  # bounds of bins ascend
    assert_same(net, X)


def test_every_op_unit_and_output_unit_has_a_rule():
    """One that is added has to have one here too."""
    assert set(ops.RULES) == (set(RULES) | set(FORWARD)) - {"unit"} <= set(OPS)
    assert set(units.UNITS) == set(ACTIVATIONS)


def test_every_layer_and_loss_is_tested():
    def kinds(layers):
        return {type(layer) for layer in layers}.union(*(kinds(layer.inner) for layer in layers))

    ours = {cls for cls in vars(fastbp.layers).values() if isinstance(cls, type) and issubclass(cls, Layer)}
    assert set().union(*map(kinds, LAYERS.values())) == ours - {Layer}
    losses = {loss if isinstance(loss, str) else type(loss).__name__ for loss in ALL_LOSSES}
    assert losses == {*NAMES_OF_LOSSES, *CLASSES}


def test_what_a_chain_becomes():
    layers = [Dense(4), fastbp.BatchNorm(), Activation("relu"), Dense(3)]
    model = Network(layers, n_inputs=2, loss="softmax_cross_entropy", dtype="float32").to_onnx()
    assert [node.op_type for node in model.graph.node] == ["Gemm", "BatchNormalization", "Relu", "Gemm", "Softmax"]
    assert [node.name for node in model.graph.node] == ["0.gemm", "1.batchnormalization", "2.relu", "3.gemm", "output"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "n_samples"
    assert model.producer_version == fastbp.__version__


def test_shared_weights_are_there_once():
    step = Shared(Dense(64, "tanh"))
    net = Network([Dense(64), step, step, step.transposed(), step], n_inputs=3, random_state=0)
    assert len(net.to_onnx().SerializeToString()) < net.parameters.nbytes * 1.1


def test_a_network_without_units_and_outputs_that_are_the_same(rng):
    """An output that others read too, one that is there twice, and names that others would have had."""
    heads = {"X": [Activation("identity")], "1": [Dense(2)], "output": [Activation("identity")]}
    net = Network([Dense(3), Parallel(heads)], n_inputs=N_INPUTS, loss=None, random_state=0)
    assert_same(net, inputs(rng, "float64"))


def test_pruned(rng):
    net = Network([Dense(6, "tanh"), Dense(1)], n_inputs=N_INPUTS, random_state=0)
    X = inputs(rng, "float64")
    net.fit(X, X[:, 0], epochs=3, prune=Prune(0.5, begin=1, end=2))
    assert (net.weights[0] == 0).any()
    assert_same(net, X)


@pytest.mark.parametrize("n", [0, 1, 1000])
def test_any_number_of_rows(rng, n):
    net = network(NETWORKS["everything"])
    X = rng.normal(size=(n, N_INPUTS))
    assert_close(net.predict(X), run(net.to_onnx(), X)["output"], "float64")


def test_far_from_its_origin_rbf_loses_no_digits(rng):
    net = Network([fastbp.RBF(4), Dense(1)], n_inputs=2, dtype="float32", random_state=0)
    X = (rng.normal(size=(20, 2)) + 1000).astype("float32")
    net.init_centres(X)
    assert_same(net, X)


def test_precision_of_the_parameters_is_that_of_the_network(rng):
    net = Network([Dense(3, "tanh"), Dense(1)], n_inputs=2, random_state=0)
    X = rng.normal(size=(5, 2))
    np.testing.assert_allclose(run(net.to_onnx(), X)["output"], net.predict(X), rtol=1e-13)
