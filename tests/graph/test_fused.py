"""Units alone are merged into the value that they follow, where that computes the same."""

from dataclasses import replace

import pytest

from fastbp import ELU, RBF, Activation, Dense, Dropout, GroupNorm, LayerNorm, Parallel, Residual, Scale, Shared
from fastbp.graph import fused
from fastbp.layers import build


def program(layers, n_inputs=3):
    """All of the fused graph but names and settings of layers."""
    graph = fused(build(layers, n_inputs))
    assert fused(graph) == graph
    values = [replace(value, name="") for value in graph.values]
    return values, [replace(w, layer=None) for w in graph.weights], graph.forward, graph.places, graph.outputs


@pytest.mark.parametrize(
    ("apart", "together"),
    [
        ([Dense(4), Activation("relu"), Dropout(0.5), Dense(1)], [Dense(4, "relu", dropout=0.5), Dense(1)]),
        ([Dense(4), Dropout(0.5), Dense(1)], [Dense(4, dropout=0.5), Dense(1)]),
        ([Dense(4, "tanh"), Dropout(0.5), Dense(1)], [Dense(4, "tanh", dropout=0.5), Dense(1)]),
        ([Dense(4, "tanh"), Activation("identity"), Dense(1)], [Dense(4, "tanh"), Dense(1)]),
        ([RBF(4), Dropout(0.5), Dense(1), Activation(ELU(0.5))], [RBF(4, 0.5), Dense(1, ELU(0.5))]),
        ([Parallel([[Dense(3)], [Dense(3), Activation("tanh")]]), Dense(1)],
         [Parallel([[Dense(3)], [Dense(3, "tanh")]]), Dense(1)]),
        ([Parallel({"a": [Dense(3), Activation("softmax")], "b": [Dense(1)]})],
         [Parallel({"a": [Dense(3, "softmax")], "b": [Dense(1)]})]),
        ([Parallel([[Dense(3, "relu")]]), Dense(1)], [Dense(3, "relu"), Dense(1)]),
    ],
)  # fmt: skip
def test_merged(apart, together):
    assert program(apart) == program(together)


def test_a_unit_after_what_is_added_up():
    values, _, forward, _, outputs = program([Residual([Dense(3)]), Activation("relu"), Dropout(0.5), Dense(1)])
    assert [(value.unit, value.dropout, value.stream) for value in values] == [
        ("identity", 0, 0), ("identity", 0, 1), ("relu", 0.5, 2), ("identity", 0, 3),
    ]  # fmt: skip
    assert [op.kind for op in forward] == ["dense", "unit", "move", "add", "unit", "dense", "unit"]
    assert outputs == {None: 3}


def test_shared_weights_with_other_units():
    shared = Shared(Dense(3))
    graph = fused(build([shared, Activation("relu"), shared, Activation("tanh"), Dense(1)], 3))
    assert [value.unit for value in graph.values] == ["identity", "relu", "tanh", "identity"]
    assert graph.places == [(0, 0, False), (0, 0, False), (1, 1, False)] and graph.n_parameters == 16


@pytest.mark.parametrize("norm", [LayerNorm(), GroupNorm(2), [GroupNorm(2, affine=False), Scale(bias=False)]])
def test_rows_that_are_normalised_are_scaled_at_once(norm):
    layers = norm if isinstance(norm, list) else [norm]
    graph = fused(build([Dense(4), *layers, Activation("relu"), Dropout(0.5), Dense(1)], 3))
    assert fused(graph) == graph
    assert [op.kind for op in graph.forward] == ["dense", "unit", "group_norm", "unit", "dense", "unit"]
    assert (graph.forward[2].weights, graph.forward[2].bias) == (1, 1 if norm is layers[0] else -1)
    value = graph.values[2]
    assert (value.name, value.unit, value.dropout) == ("1" if norm is layers[0] else "2", "relu", 0.5)


@pytest.mark.parametrize(
    "layers",
    [
        [LayerNorm(), Dense(1)],  # of X
        [Dense(4, dropout=0.5), LayerNorm(affine=False), Dense(1)],  # nothing to scale by
        [Dense(4), GroupNorm(2, affine=False), Parallel([[Scale()], []])],  # read by others
        [Activation("relu"), Dense(1)],  # of X
        [Dense(3, "relu"), Activation("tanh"), Dense(1)],  # two units
        [Dense(3, dropout=0.5), Activation("relu"), Dense(1)],  # the unit after the dropout
        [Dense(3, dropout=0.5), Dropout(0.5), Dense(1)],  # two dropouts
        [Dense(3), Parallel([[Activation("relu")], []])],  # read by others
        [Dense(3), Parallel([[Dropout(0.5)], [Dropout(0.5)]], "add")],
        [Dense(3), Residual([Activation("relu"), Dense(3)])],
        [Dense(3), Parallel({"a": [Activation("relu")], "b": [Activation("tanh")]})],
    ],
)
def test_not_merged(layers):
    graph = build(layers, 3)
    assert fused(graph) == graph


def test_an_output_that_is_read_stays():
    graph = build([Dense(3), Activation("relu"), Dense(1)], 3)
    graph.outputs["inner"] = 1
    assert fused(graph) == graph
    graph.outputs["inner"] = 2
    assert fused(graph).outputs == {None: 2, "inner": 1}
