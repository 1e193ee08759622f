"""What a network tells of itself: settings, layers, parameters."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastbp
from fastbp import (
    BatchNorm,
    Checkpoint,
    Dense,
    Embed,
    LayerNorm,
    LowRank,
    Network,
    Parallel,
    PReLU,
    Residual,
    Shared,
    Sparse,
)
from fastbp.network.summary import all_layers

ENCODER = Shared(Dense(6, "tanh"), name="encoder")
NETWORKS = {
    "dense": ([Dense(5, "relu"), Dense(2)], "squared_error"),
    "nested": (
        [
            BatchNorm(), Residual([Dense(7, "relu"), LayerNorm(), Dense(8)], projection="linear"), LowRank(6, 2),
            Parallel([[], [Dense(3, "relu"), PReLU()], [Checkpoint([Dense(4), BatchNorm(affine=False)])]]), Dense(2),
        ],
        "squared_error",
    ),
    "shared": ([Dense(6), ENCODER, ENCODER, ENCODER.transposed(), Residual([ENCODER]), Dense(2)], "squared_error"),
    "sparse": ([Sparse(9, 2, "relu"), Dense(2)], "squared_error"),
    "tables": ([Embed({1: 3, 2: 5}, dim=2), Dense(2)], "squared_error"),
    "heads": (
        [Dense(5), Parallel({"a": [Dense(3, "relu"), Dense(1)], "b": [Dense(4)]})],
        {"a": "squared_error", "b": "softmax_cross_entropy"},
    ),
}  # fmt: skip


@pytest.fixture(params=NETWORKS)
def net(request):
    layers, loss = NETWORKS[request.param]
    return Network(layers, n_inputs=4, loss=loss, l2=0.25, dtype="float32", random_state=0)


def every_layer(summary):
    return list(all_layers({"": summary.layers}))


def test_each_parameter_is_counted_once(net):
    summary = net.summary()
    layers = every_layer(summary)
    assert summary.n_parameters == net.parameters.size == sum(layer.n_parameters for layer in layers)
    assert summary.n_bytes == net.parameters.nbytes == sum(layer.n_bytes for layer in layers)
    state = sum(array.size for array in net.layer_state.values())
    assert summary.n_state == state == sum(layer.n_state for layer in layers)


def test_names_and_shapes_are_those_of_unflatten_and_activations(net):
    layers, parts = every_layer(net.summary()), net.unflatten(net.parameters)
    shapes = {
        f"{name}.{part}": array.shape
        for name, parameters in parts.items()
        for part, array in parameters._asdict().items()
        if array is not None
    }
    assert {name: shape for layer in layers for name, shape in layer.shapes.items()} == shapes
    if net.layers[0].__class__ is Embed:
        X = np.zeros((1, 4))
    else:
        X = np.ones((1, 4))
    activations = net.activations(X)
    known = {layer.name: layer.n_units for layer in layers if layer.name in activations}
    assert known == {name: activations[name].z.shape[1] for name in known} and len(known) >= 2


def test_what_is_printed(net):
    summary = net.summary()
    text, html = str(summary), summary._repr_html_()
    assert repr(summary) == text and f"{summary.n_parameters:,}" in text.splitlines()[-1 - len(summary.remarks)]
    assert not any(line.endswith(" ") for line in text.splitlines())
    for layer in every_layer(summary):
        assert f"\n{layer.name} " in text and f">{layer.name}</td>" in html
    assert html.count("<tr>") == html.count("</tr>") == len(every_layer(summary)) + 2


def test_html_is_escaped():
    net = Network([Shared(Dense(2), name="<b>")] * 2, n_inputs=2)
    assert "<b>" not in net._repr_html_()
    heads = Parallel({"<script>": [Dense(1)]})
    assert "<script>" not in Network([heads], n_inputs=2, loss={"<script>": "squared_error"})._repr_html_()


def test_masked_parameters_are_told():
    net = Network([Dense(3, mask=np.array([[1, 1, 0], [0, 1, 1]], bool)), Dense(1)], n_inputs=2)
    assert net.summary().n_masked == 2 and "2 of the parameters are 0 for good" in str(net.summary())


def test_containers_have_what_is_within_them():
    residual = Network(NETWORKS["nested"][0], n_inputs=4).summary().layers[1]
    assert [layer.name for layer in residual.sequences[""]] == ["1.0", "1.1", "1.2"]
    assert residual.shapes == {"1.projection.weights": (4, 8)} and residual.n_parameters == 32
    assert residual.kind == "Residual(projection='linear')" and residual.n_units == 8
    heads = Network(NETWORKS["heads"][0], n_inputs=4, loss=NETWORKS["heads"][1]).summary().layers[1]
    assert heads.n_units is None and [layer.name for layer in heads.sequences["a"]] == ["1.a.0", "1.a.1"]


# ---- unflatten ------------------------------------------------------------------------------------------------------


def test_parts_are_views_of_the_vector_in_the_order_of_weights(net):
    parts = net.unflatten(net.parameters)
    assert len(parts) == len(net.weights)
    for part, weights, biases in zip(parts.values(), net.weights, net.biases, strict=True):
        assert_array_equal(part.weights, weights)
        assert part.weights.size == 0 or np.shares_memory(part.weights, net.parameters)
        assert (part.biases is None) == (biases is None)
    vector = np.zeros(net.parameters.size)
    for part in net.unflatten(vector).values():
        part.weights[...] = 1
        if part.biases is not None:
            part.biases[...] = 1
    assert vector.all()


def test_names():
    def names(key):
        layers, loss = NETWORKS[key]
        net = Network(layers, n_inputs=4, loss=loss)
        return list(net.unflatten(net.parameters))

    assert names("tables") == ["0.1", "0.2", "1"]
    assert names("heads") == ["0", "1.a.0", "1.a.1", "1.b.0"]
    assert names("nested") == [
        "0", "1.0", "1.1", "1.2", "1.projection", "2.reduced", "2", "3.1.0", "3.1.1", "3.2.0.0", "4",
    ]  # fmt: skip
    assert names("shared") == ["0", "1", "2", "3", "4.0", "5"]


@pytest.mark.parametrize("bad", [np.zeros(5), np.zeros((17, 1)), np.full(17, "a"), np.zeros(17, complex)])
def test_bad_vectors(bad):
    net = Network([Dense(3), Dense(2)], n_inputs=2)
    with pytest.raises(ValueError, match=r"vector must hold real numbers in shape \(17,\), got dtype"):
        net.unflatten(bad)
    assert net.unflatten(list(range(17)))["1"].biases.tolist() == [15, 16]


# ---- repr -----------------------------------------------------------------------------------------------------------


def test_a_line_for_each_setting():
    net = Network(
        [Dense(128, "relu", dropout=0.5), Residual([Dense(128, "relu")]), Dense(10)], n_inputs=64,
        loss="softmax_cross_entropy", l2=1e-4,
    )  # fmt: skip
    assert repr(net) == """\
Network(
    layers=[
        Dense(n_units=128, activation='relu', dropout=0.5),
        Residual(layers=(Dense(n_units=128, activation='relu'),)),
        Dense(n_units=10),
    ],
    n_inputs=64,
    loss='softmax_cross_entropy',
    l2=0.0001,
    dtype='float64',
)"""


def test_it_can_be_evaluated(net):
    again = eval(repr(net), vars(fastbp).copy())
    assert repr(again) == repr(net) and again.layers == net.layers and again.dtype == np.float32


def test_html_has_the_table_and_the_drawing(net):
    html = net._repr_html_()
    assert html.startswith(net.summary()._repr_html_()) and "<svg" in html
