"""Networks from ONNX: what `to_onnx` writes comes back; what others write is understood, or refused by name."""

import io
import random
import re
import warnings

import numpy as np
import pytest
from graph_cases import BATCH_NORM, N_INPUTS, NETWORKS, network
from numpy.testing import assert_allclose, assert_array_equal

from fastbp import (
    ELU,
    SGD,
    Activation,
    BatchNorm,
    Dense,
    Embed,
    GroupNorm,
    LayerNorm,
    LeakyReLU,
    LowRank,
    Network,
    Parallel,
    Periodic,
    PiecewiseLinear,
    PReLU,
    Residual,
    Scale,
    Shared,
    SoftmaxCrossEntropy,
    SpectralNorm,
    Standardize,
    WeightNorm,
)
from fastbp.names import UNITS

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper, parser  # noqa: E402

pytestmark = pytest.mark.once


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


def inputs(rng, dtype="float64", n=7):
    X = rng.normal(size=(n, N_INPUTS))
    X[:, [1, 3]] = rng.integers(0, 3, (n, 2))
    return X.astype(dtype)


def assert_same(net, again, X):
    tolerance = 1e-5 if net.dtype == "float32" else 1e-7
    ours, theirs = again.predict(X), net.predict(X)
    for a, b in zip(*(a.values() if isinstance(a, dict) else [a] for a in (ours, theirs)), strict=True):
        assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    assert again.dtype == net.dtype


def round_trip(net, X):
    again = Network.from_onnx(net.to_onnx())
    assert_same(net, again, X)
    return again


# ---- what to_onnx writes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", [*UNITS, LeakyReLU(0.2), ELU(0.3)], ids=str)
def test_units(rng, unit, dtype):
    layers = (Dense(6, unit), Dense(2, "tanh" if unit == "tanh" else unit), Dense(3))
    net = Network(layers, n_inputs=N_INPUTS, dtype=dtype, random_state=0)
    again = round_trip(net, inputs(rng, dtype))
    assert again.layers == layers and again.loss == "squared_error"
    assert_array_equal(again.parameters, net.parameters)


CHAINS = {
    "normalized": [Dense(4), BatchNorm(0.2, 1e-3), Activation("relu"), LayerNorm(), Dense(4), GroupNorm(2), Dense(2)],
    "normalized alone": [
        LayerNorm(affine=False), Dense(4), BatchNorm(affine=False), Dense(4), GroupNorm(2, 0.01, affine=False), Dense(2)
    ],
    "residual": [
        Dense(6, "tanh"), Residual([Dense(8, "gelu"), Dense(6)]), Activation("relu"), Residual([Residual([Dense(6)])]),
        Residual([Dense(3, "tanh"), Dense(4)], "linear"), Dense(2),
    ],
    "parallel": [
        Parallel([[], [Dense(3, "tanh"), Dense(2, "silu")], [Activation("tanh")]]),
        Parallel([[Dense(4, "tanh")], [Dense(4, "relu")], [Dense(4, "softmax")]], "add"), Dense(2),
    ],
    "nested": [
        Parallel([[Residual([Dense(5, "relu")]), Parallel([[Dense(2)], []])], [Dense(1, "tanh")]]), Dense(2),
    ],
    "scaled": [Scale(), Dense(4), Scale(bias=False), Activation("tanh"), PReLU(), Dense(2)],
    "low rank": [LowRank(6, 2, "tanh"), LowRank(2, 1)],
    "standardized": [Standardize(), Dense(4, "tanh"), Dense(2)],
    "categories": [Embed({3: 4, 1: 3}, dim={3: 2, 1: 1}), Dense(4, "tanh"), Dense(2)],
    "one unit": [Dense(1, "tanh"), LayerNorm(), Dense(1)],
    "sparse": NETWORKS["sparse"],
    "radial": [Dense(4), Residual([NETWORKS["radial"][1].layers[0]]), Dense(2)],
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_layers_come_back(rng, name, dtype):
    net = network(CHAINS[name], dtype=dtype)
    for state in net.layer_state.values():
        state += rng.random(state.shape)
    again = round_trip(net, inputs(rng, dtype))
    assert again.layers == tuple(CHAINS[name])
    assert_allclose(again.parameters, net.parameters, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_come_back_as_the_same_function(rng, name, dtype):
    round_trip(network(NETWORKS[name], dtype=dtype), inputs(rng, dtype))


@pytest.mark.parametrize("name", BATCH_NORM)
def test_batch_norm(rng, name, dtype):
    net = network(BATCH_NORM[name], dtype=dtype)
    for state in net.layer_state.values():
        state += rng.random(state.shape)
    round_trip(net, inputs(rng, dtype))


NUMBERS = {
    "waves": [Periodic(3, 0.2, 2, "tanh"), Dense(2)],
    "waves of some": [Periodic(1, 0.2, 3, columns=[4, 1]), Dense(2)],
    "waves of hidden units": [Dense(4, "tanh"), Periodic(2, 0.2, 1, ELU(0.5), columns=[3]), Dense(2)],
    "bins": [PiecewiseLinear(3, 2), Dense(2)],
    "bins of some": [PiecewiseLinear(4, 3, "identity", columns=[4, 0, 2]), Dense(2)],
    "bins in another order": [PiecewiseLinear(2, 1, columns=[4, 1, 0, 3, 2]), Dense(2)],
    "categories too": [Embed({3: 4, 1: 3}, dim={3: 2, 1: 1}), PiecewiseLinear(3, columns=[0, 2]), Dense(2)],
    "beside others": [Parallel([[PiecewiseLinear(2, 2, columns=[1, 2])], [Periodic(1, 0.2)], []]), Dense(2)],
    "at the end": [PiecewiseLinear(2, 1, "tanh", columns=[1])],
}  # fmt: skip


@pytest.mark.parametrize("name", NUMBERS)
def test_embedded_numbers_come_back(rng, name, dtype):
    """Also a column that does not vary, and one that bins are left over of; `sigma` is that of the weights."""
    net = network(NUMBERS[name], dtype=dtype)
    X = np.concatenate([inputs(rng, dtype, 60)] * 2)
    X[:, 0], X[:, 2] = 1.5, X[:, 2].round()
    net.fit(X, rng.normal(size=(120, net.predict(X[:1]).shape[1])), epochs=2)
    again = round_trip(net, X)
    assert_allclose(again.parameters, net.parameters, rtol=1e-6, atol=1e-7)
    assert [*again.layer_state] == [*net.layer_state]
    for key in again.layer_state:
        if key.endswith("bounds"):
            assert_allclose(again.layer_state[key], net.layer_state[key], rtol=1e-5, atol=1e-6)
    sigma = "sigma=([0-9.]+)"
    assert re.sub(sigma, "", repr(again.layers)) == re.sub(sigma, "", repr(net.layers))
    assert all(0.05 < float(found) < 0.8 for found in re.findall(sigma, repr(again.layers)))
    again.fit(X, net.predict(X), epochs=1)  # and can be trained on


def test_columns_that_no_layer_takes_so(rng):
    """What `to_onnx` writes, but with the other columns elsewhere than a layer has them, is refused by name."""
    model = network([PiecewiseLinear(3, 2, columns=[2, 3]), Dense(2)]).to_onnx()
    joined = next(node for node in model.graph.node if node.op_type == "Concat" and len(node.input) == 3)
    joined.input[:] = joined.input[::-1]
    with pytest.raises(ValueError, match="model: node .* is nothing that fastbp has a layer for"):
        Network.from_onnx(model)


def test_normalised_weights_are_those_of_a_plain_layer(rng, dtype):
    net = network([WeightNorm(Dense(4, "tanh")), SpectralNorm(Dense(2))], dtype=dtype)
    assert round_trip(net, inputs(rng, dtype)).layers == (Dense(4, "tanh"), Dense(2))


def test_shared_weights_are_shared_again(rng):
    code = Shared(Dense(4, "tanh"))
    net = network([Dense(4), code, code, code.transposed(), code])
    again = round_trip(net, inputs(rng))
    assert again.parameters.size == net.parameters.size
    X, y = inputs(rng), rng.random((7, 4))
    for n in (net, again):  # and learn together
        n.fit(X, y, optimizer=SGD(0.1), epochs=2, shuffle=False)
    assert_same(net, again, X)


LOSSES = [
    "softmax_cross_entropy", "cross_entropy", "poisson", "perceptron", "squared_error",
    SoftmaxCrossEntropy(fixed_logit=True),
]  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_losses_by_the_unit_of_the_output(rng, loss):
    net = Network([Dense(4, "tanh"), Dense(3)], n_inputs=N_INPUTS, loss=loss, random_state=0)
    again = round_trip(net, inputs(rng))
    assert (again.loss, again.layers) == (loss, net.layers)


def test_heads(rng):
    heads = {"price": [Dense(4, "tanh"), Dense(2)], "kind": [Dense(3)], "as_it_is": [Activation("identity")]}
    losses = {"price": "gaussian", "kind": "softmax_cross_entropy", "as_it_is": "squared_error"}
    net = Network([Dense(4, "relu"), Parallel(heads)], n_inputs=N_INPUTS, loss=losses, random_state=0)
    again = round_trip(net, inputs(rng))
    assert again.layers == net.layers
    assert dict(again.loss) == losses | {"price": "squared_error"}
    assert dict(Network.from_onnx(net.to_onnx(), loss=losses).loss) == losses
    assert Network.from_onnx(Network(net.layers, n_inputs=2, loss=None).to_onnx(), loss=None).loss is None
    with pytest.raises(ValueError, match="loss must be a dict by the names of the heads, .'price', 'kind', 'as_it_is'"):
        Network.from_onnx(net.to_onnx(), loss="huber")


def test_a_loss_that_is_given(rng):
    net = Network([Dense(3)], n_inputs=2, loss="softmax_cross_entropy")
    again = Network.from_onnx(net.to_onnx(), loss="squared_error")
    assert again.layers == (Dense(3, "softmax"),) and again.loss == "squared_error"
    with pytest.raises(ValueError, match="loss must go with the unit of the model's output, 'softmax', got 'poisson'"):
        Network.from_onnx(net.to_onnx(), loss="poisson")
    logits = Network([Dense(3)], n_inputs=2)
    logits.parameters[:] = net.parameters
    X = rng.normal(size=(4, 2))
    again = Network.from_onnx(logits.to_onnx(), loss="softmax_cross_entropy")
    assert_allclose(again.predict(X), net.predict(X))
    net = Network([Dense(3)], n_inputs=2, loss="poisson")
    with pytest.raises(ValueError, match="loss must go with the unit of the model's output, 'exp', got 'huber'"):
        Network.from_onnx(net.to_onnx(), loss="huber")


def test_files(tmp_path, rng):
    net, file = Network([Dense(3, "tanh"), Dense(1)], n_inputs=N_INPUTS, random_state=0), tmp_path / "net.onnx"
    onnx.save(net.to_onnx(), file)
    for source in (file, str(file), io.BytesIO(file.read_bytes())):
        assert_same(net, Network.from_onnx(source), inputs(rng))
    with pytest.raises(FileNotFoundError):
        Network.from_onnx(tmp_path / "none.onnx")
    file.write_bytes(b"no model")
    with pytest.raises(ValueError, match="model must be a(n| valid) ONNX model"):
        Network.from_onnx(file)
    with pytest.raises(ValueError, match="model must be an onnx.ModelProto, a path or a file object, got int"):
        Network.from_onnx(3)


def test_damaged_files():
    """Bytes changed, left out or added: a ValueError, or a network."""
    draw, outcomes = random.Random(0), set()
    chains = [
        [Embed({1: 3}, dim=2), Dense(4, "tanh"), BatchNorm(), Residual([GroupNorm(2), Dense(4, ELU(0.5))])],
        [PiecewiseLinear(2, 1, columns=[1]), Dense(2, "tanh"), Periodic(1, 0.2, 1, columns=[0]), Dense(1)],
    ]
    files = [Network(its, n_inputs=2, random_state=0).to_onnx().SerializeToString() for its in chains]
    for i in range(400):
        damaged = bytearray(files[i % 2])
        for _ in range(draw.choice([1, 1, 2, 4])):
            at = draw.randrange(len(damaged))
            if draw.random() < 0.2:
                del damaged[at : at + draw.randrange(1, 40)]
            else:
                damaged[at] = draw.randrange(256)
        try:
            outcomes.add(type(Network.from_onnx(io.BytesIO(damaged))))
        except ValueError as error:
            outcomes.add(type(error))
    assert outcomes == {ValueError, Network}


def test_sizes_are_compared_before_memory_is_taken():
    model = Network([Dense(4, "tanh"), BatchNorm(), Dense(2)], n_inputs=3, random_state=0).to_onnx()
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1 << 30
    del model.graph.value_info[:]
    with pytest.raises(ValueError, match=r"weights and biases of shapes \[\(3, 4\), \(4,\)\] must be those of a layer"):
        Network.from_onnx(model)


# ---- what others write ----------------------------------------------------------------------------------------------


def graph(text, dtype="float", n_inputs=3, **constants):
    """A model of nodes, as ONNX's text has them, and constants; A is its output."""
    model = parser.parse_model(f"""
        <ir_version: 9, opset_import: ["" : 20, "other" : 1]>
        g ({dtype}[N, {n_inputs}] X) => ({dtype}[N, M] A) {{ {text} }}
    """)
    kind = {"float": np.float32, "double": np.float64}[dtype]
    for name, value in constants.items():
        value = np.asarray(value)
        value = value.astype(kind) if value.dtype.kind == "f" else value
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    return model


def assert_means(model, layers, X):
    """It is this network, and gives what ONNX's reference does."""
    from onnx.reference import ReferenceEvaluator

    net = Network.from_onnx(model)
    assert net.layers == tuple(layers)
    (expected,) = ReferenceEvaluator(model).run(None, {"X": X})
    assert_allclose(net.predict(X), expected, rtol=1e-5, atol=1e-5)
    return net


@pytest.fixture
def X3(rng):
    return rng.normal(size=(5, 3)).astype(np.float32)


@pytest.fixture
def W(rng):
    """Weights and vectors by names: W12 is (3, 4), W21 (4, 3), b the bias of 4, c that of 3."""
    shapes = {"W12": (3, 4), "W21": (4, 3), "b": (4,), "c": (3,), "g": (4,), "v": (4,)}
    return {name: rng.random(shape) + 0.1 for name, shape in shapes.items()}


def test_products_and_sums_apart(X3, W):
    """As Keras has them."""
    text = """
        z = MatMul(X, W12) h = Add(z, b) a = Relu(h) i = Identity(a)
        y = MatMul(i, W21) d = Dropout(y) o = Add(c, d) A = Softmax<axis: int = 1>(o)
    """
    for b in (W["b"], np.zeros(4)):
        net = assert_means(graph(text, **W | {"b": b}), [Dense(4, "relu"), Dense(3)], X3)
        assert net.loss == "softmax_cross_entropy"


def test_transposed_weights_and_constants_in_nodes(X3, W):
    """As PyTorch has them."""
    text = """
        s = Constant<value_ints: ints = [-1, 3]>() x = Reshape(X, s) f = Flatten(x)
        z = Gemm<transB: int = 1>(f, W21, b) h = BatchNormalization<momentum: float = 0.9>(z, g, b, b, v)
        two = Constant<value_float: float = 2.0>() T = Transpose<perm: ints = [1, 0]>(W12) k = Mul(T, two)
        a = LeakyRelu<alpha: float = 0.2>(h) A = Gemm<alpha: float = 0.5, beta: float = 2.0>(a, k, c)
    """
    assert_means(graph(text, **W), [Dense(4), BatchNorm(), Activation(LeakyReLU(0.2)), Dense(3)], X3)


UNITS_OF_PARTS = {
    "gelu": """
        one = Constant<value_float: float = 1.0>() half = Constant<value_float: float = 0.5>()
        root = Constant<value_float: float = 0.7978845608>() cubic = Constant<value_float: float = 0.044715>()
        z2 = Mul(z, z) z3 = Mul(z2, z) c3 = Mul(z3, cubic) s = Add(z, c3) u = Mul(s, root) t = Tanh(u)
        t1 = Add(t, one) zh = Mul(z, half) a = Mul(zh, t1)
    """,
    "hard_swish": "s = HardSigmoid<alpha: float = 0.16666667, beta: float = 0.5>(z) a = Mul(z, s)",
    "mish": "p = Softplus(z) t = Tanh(p) a = Mul(z, t)",
    "silu": "s = Sigmoid(z) a = Mul(s, z)",
    "softplus": "one = Constant<value_float: float = 1.0>() e = Exp(z) e1 = Add(e, one) a = Log(e1)",
    "relu": "zero = Constant<value_floats: floats = [0.0, 0.0, 0.0, 0.0]>() a = Max(z, zero)",
    "hard_tanh": "l = Constant<value_float: float = -1.0>() h = Constant<value_float: float = 1.0>() a = Clip(z, l, h)",
    "tanh": "a0 = Tanh(z) a = Cast<to: int = 1>(a0)",
    "step": "zero = Constant<value_float: float = 0.0>() t = Greater(z, zero) a = Cast<to: int = 1>(t)",
}


@pytest.mark.parametrize("unit", UNITS_OF_PARTS)
def test_units_of_parts(X3, W, unit):
    """Whatever a unit is made of, it is that unit."""
    text = f"z = Gemm(X, W12, b) {UNITS_OF_PARTS[unit]} A = Gemm(a, W21, c)"
    assert_means(graph(text, **W), [Dense(4, unit), Dense(3)], X3)


def test_two_units_one_after_the_other(X3, W):
    text = "z = Gemm(X, W12, b) t = Tanh(z) r = Relu(t) A = Gemm(r, W21, c)"
    assert_means(graph(text, **W), [Dense(4, "tanh"), Activation("relu"), Dense(3)], X3)


def test_normalisations_of_others(X3, W):
    """Group normalisation as PyTorch writes it, and as an operator; layer normalisation without a shift."""
    ones, zeros = np.ones(2), np.zeros(2)
    text = """
        z = Gemm(X, W12, b) s = Constant<value_ints: ints = [0, 2, -1]>() y = Reshape(z, s)
        i = InstanceNormalization<epsilon: float = 0.001>(y, ones, zeros)
        s2 = Constant<value_ints: ints = [0, -1]>() m = Reshape(i, s2) w = Mul(m, g) n = Add(w, b)
        l = LayerNormalization(n, g) A = Gemm(l, W21, c)
    """
    layers = [Dense(4), GroupNorm(2, 0.001), LayerNorm(), Dense(3)]
    assert_means(graph(text, ones=ones, zeros=zeros, **W), layers, X3)


def test_scales_of_others(X3, W):
    text = "d = Sub(X, c) q = Div(d, c) z = Gemm(q, W12, b) m = Mul(g, z) p = Sub(b, m) n = Neg(p) A = Div(n, g)"
    assert_means(graph(text, **W), [Standardize(), Dense(4), Scale()], X3)


@pytest.mark.parametrize("text", [
    "A = PRelu(z, g)", "r = Relu(z) n = Neg(z) s = Relu(n) p = Mul(g, s) m = Neg(p) A = Add(r, m)",
    "A = PRelu(z, minus)",
])  # fmt: skip
def test_slopes_of_others(X3, W, text):
    """Two of them as PyTorch has it, for each column and for all, one as Keras does."""
    model = graph(f"z = Gemm(X, W12, b) {text}", minus=np.array([-0.5]), **W)
    assert_means(model, [Dense(4), PReLU()], X3)


def test_a_batch_norm_without_epsilon_is_a_scale(X3, W):
    text = "z = Gemm(X, W12, b) A = BatchNormalization<epsilon: float = 0.0>(z, g, b, b, v)"
    assert_means(graph(text, **W), [Dense(4), Scale()], X3)


def test_a_product_without_bias_gets_one(X3, W):
    net = assert_means(graph("A = MatMul(X, W12)", **W), [Dense(4)], X3)
    assert not net.biases[0].any()


def test_branches_of_others(X3, W):
    """The sum of X and what is made of it, in either order, and of three."""
    text = "z = Gemm(X, W12, b) h = Relu(z) y = Gemm(h, W21, c) A = Add(y, X)"
    assert_means(graph(text, **W), [Residual([Dense(4, "relu"), Dense(3)])], X3)
    text = "t = Tanh(X) r = Gemm(X, W, c) A = Sum(X, t, r)"
    layers = [Parallel([[], [Activation("tanh")], [Dense(3)]], "add")]
    assert_means(graph(text, W=W["W12"][:, :3], c=W["c"]), layers, X3)


def test_a_model_of_skl2onnx(X3):
    skl2onnx, neural_network = pytest.importorskip("skl2onnx"), pytest.importorskip("sklearn.neural_network")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlp = neural_network.MLPRegressor(hidden_layer_sizes=4, max_iter=2, random_state=0).fit(X3, X3[:, 0])
        net = Network.from_onnx(skl2onnx.to_onnx(mlp, X3[:1]))
    assert net.layers == (Dense(4, "relu"), Dense(1))
    assert_allclose(net.predict(X3)[:, 0], mlp.predict(X3), rtol=1e-5)


def test_functions_in_a_model_are_looked_into(X3, W):
    model = parser.parse_model("""
        <ir_version: 9, opset_import: ["" : 20, "local" : 1]>
        g (float[N, 3] X) => (float[N, 4] A) { z = Gemm(X, W12, b) A = local.Unit(z) }
        <opset_import: ["" : 20], domain: "local"> Unit (z) => (a) { s = Sigmoid(z) a = Mul(z, s) }
    """)
    model.graph.initializer.extend(numpy_helper.from_array(W[n].astype(np.float32), n) for n in ("W12", "b"))
    assert_means(model, [Dense(4, "silu")], X3)


# ---- what is refused ------------------------------------------------------------------------------------------------

NOT_OURS = {
    "is nothing that fastbp has a layer for": {
        "node 'A' .Celu": "z = Gemm(X, W12, b) A = Celu<alpha: float = 2.0>(z)",
        "node 'a' .Gelu": "z = Gemm(X, W12, b) a = Gelu(z) A = Gemm(a, W21, c)",  # the exact one
        "node 'A' .ReduceMax": "z = Gemm(X, W12, b) A = ReduceMax(z)",
        "node 'A' .Strange": "z = Gemm(X, W12, b) A = other.Strange(z)",
        "node 's' .Softmax": "z = Gemm(X, W12, b) s = Softmax<axis: int = 0>(z) A = Gemm(s, W21, c)",
        "node 'z' .Gemm": "z = Gemm(W12, X) A = Relu(z)",
        "node 'A' .Mul": "z = Gemm(X, W12, b) y = Gemm(X, W12, b) A = Mul(y, z)",
        "node 'r' .RandomNormalLike": "z = Gemm(X, W12, b) r = RandomNormalLike(z) A = Relu(r)",
        "node 'A' .Concat": "z = Gemm(X, W12, b) A = Concat<axis: int = 0>(z, z)",
        "node 'A' .Add": "z = Gemm(X, W12, b) r = RandomUniform<shape: ints = [1, 4]>() A = Add(z, r)",
    },
    "is taken by several branches": {
        "node 'h' .Relu": """
            z = Gemm(X, W12, b) h = Relu(z) y = Gemm(h, W21, c) k = Gemm(X, W12, b) q = Add(k, h) p = Gemm(q, W21, c)
            A = Add(y, p)
        """,
    },
    "is a unit that fastbp has at an output alone": {
        "node 'e' .Exp": "z = Gemm(X, W12, b) e = Exp(z) A = Gemm(e, W21, c)",
        "node 's' .Softmax": "z = Gemm(X, W12, b) l = Where(last, z, no) s = Softmax(l) A = Gemm(s, W21, c)",
    },
}  # fmt: skip


@pytest.mark.parametrize("why, node", [(why, node) for why, nodes in NOT_OURS.items() for node in nodes])
def test_refusals_name_the_node(W, why, node):
    with pytest.raises(ValueError, match=f"model: {node}.*{why}"):
        Network.from_onnx(graph(NOT_OURS[why][node], last=np.arange(4) < 3, no=np.array(0.0), **W))


def test_inputs_that_are_refused(W):
    model = graph("A = Gemm(X, W12, b)", **W)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "any"
    with pytest.raises(ValueError, match=r"input of FLOAT or DOUBLE in shape \(any, n_inputs\), got 'X' of FLOAT in"):
        Network.from_onnx(model)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    with pytest.raises(ValueError, match="got 'X' of FLOAT16"):
        Network.from_onnx(model)
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    with pytest.raises(ValueError, match="model must have one input, got .'X', 'more'"):
        Network.from_onnx(model)
    del model.graph.node[:]
    with pytest.raises(ValueError, match="model must be a valid ONNX model"):
        Network.from_onnx(model)
