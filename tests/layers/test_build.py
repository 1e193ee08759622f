"""The ops that each layer writes: names of values, kinds of ops and what they connect, shapes, errors."""

import re

import pytest

from fastbp import RBF, Activation, Dense, Dropout, LeakyReLU, Parallel, PReLU, Residual, Scale, Shared, Transposed
from fastbp.graph import backward_of, fused
from fastbp.layers import build
from fastbp.layers.layer import DEPTH


def shown(graph):
    """Ops as strings, ``kind weights+bias: input -> output[column]``, with values by their names."""
    names = [value.name for value in graph.values]
    assert len(set(names)) == len(names)
    lines = []
    for op in graph.forward:
        kind = op.kind if op.weights < 0 or op.kind == "unit" else f"{op.kind} {op.weights}"
        kind += f"+{op.bias}" if op.bias >= 0 else ""
        if op.kind == "unit":
            value = graph.values[op.output]
            unit = value.unit + (f"({value.parameter})" if value.parameter else "")
            lines.append(f"{unit} {value.name}" + (f" drop {value.dropout}" if value.dropout else ""))
            assert op.input == op.output
        else:
            column = f"[{op.column}]" if op.column else ""
            lines.append(f"{kind}: {names[op.input]} -> {names[op.output]}{column}")
    return lines


def shapes(graph):
    return {value.name: value.n for value in graph.values}


def weights(graph):
    return [(w.role, w.n_in, w.n_out, w.has_bias, w.offset) for w in graph.weights]


def test_a_chain_of_dense_layers():
    graph = build([Dense(4, "relu", dropout=0.5), RBF(3, 0.25), Dense(2, LeakyReLU(0.2))], 5)
    assert shown(graph) == [
        "dense 0+0: X -> 0", "relu 0 drop 0.5", "rbf 1+1: 0 -> 1", "rbf 1 drop 0.25", "dense 2+2: 1 -> 2",
        "leaky_relu(0.2) 2",
    ]  # fmt: skip
    assert shapes(graph) == {"X": 5, "0": 4, "1": 3, "2": 2}
    assert weights(graph) == [
        ("weight", 5, 4, True, 0), ("centre", 4, 3, True, 24), ("weight", 3, 2, True, 39),
    ]  # fmt: skip
    assert graph.n_parameters == 47 and [w.layer.n_units for w in graph.weights] == [4, 3, 2]
    assert graph.outputs == {None: 3} and [v.stream for v in graph.values] == [0, 1, 2, 3]
    assert graph.forward[3].weights == 1  # whose centres the gradient of the unit needs
    assert fused(graph) == graph


def test_activation_and_dropout():
    graph = build([Dropout(0.1), Dense(4), Activation("sigmoid"), Dropout(0.5), Dense(1)], 3)
    assert shown(graph) == [
        "move: X -> 0", "identity 0 drop 0.1", "dense 0+0: 0 -> 1", "identity 1", "move: 1 -> 2", "logistic 2",
        "move: 2 -> 3", "identity 3 drop 0.5", "dense 1+1: 3 -> 4", "identity 4",
    ]  # fmt: skip
    assert shapes(graph) == {"X": 3, "0": 3, "1": 4, "2": 4, "3": 4, "4": 1}


def test_residual():
    graph = build([Residual([Dense(4, "relu"), Dense(3)]), Dense(1)], 3)
    assert shown(graph) == [
        "dense 0+0: X -> 0.0", "relu 0.0", "dense 1+1: 0.0 -> 0.1", "identity 0.1", "move: X -> 0", "add: 0.1 -> 0",
        "identity 0", "dense 2+2: 0 -> 1", "identity 1",
    ]  # fmt: skip
    assert build([Residual([Dense(4, "relu"), Dense(3)], projection="linear"), Dense(1)], 3) == graph  # not needed


def test_residual_with_projection_and_within_another():
    inner = Residual([Dense(5)], projection="linear")
    graph = build([Residual([inner, Dense(2)], projection="linear"), Dense(1)], 3)
    assert shown(graph) == [
        "dense 0+0: X -> 0.0.0", "identity 0.0.0", "dense 1: X -> 0.0.projection", "identity 0.0.projection",
        "move: 0.0.projection -> 0.0", "add: 0.0.0 -> 0.0", "identity 0.0", "dense 2+2: 0.0 -> 0.1", "identity 0.1",
        "dense 3: X -> 0.projection", "identity 0.projection", "move: 0.projection -> 0", "add: 0.1 -> 0",
        "identity 0", "dense 4+4: 0 -> 1", "identity 1",
    ]  # fmt: skip
    assert weights(graph) == [
        ("weight", 3, 5, True, 0), ("weight", 3, 5, False, 20), ("weight", 5, 2, True, 35), ("weight", 3, 2, False, 47),
        ("weight", 2, 1, True, 53),
    ]  # fmt: skip
    assert graph.n_parameters == 56 and graph.places[1] == (1, -1, False)


def test_parallel_concatenated_and_added():
    branches = [[Dense(2, "tanh")], [], [Dense(4), Dense(3)]]
    graph = build([Parallel(branches), Dense(1)], 3)
    assert shown(graph) == [
        "dense 0+0: X -> 0.0.0", "tanh 0.0.0", "dense 1+1: X -> 0.2.0", "identity 0.2.0", "dense 2+2: 0.2.0 -> 0.2.1",
        "identity 0.2.1", "move: 0.0.0 -> 0", "move: X -> 0[2]", "move: 0.2.1 -> 0[5]", "identity 0",
        "dense 3+3: 0 -> 1", "identity 1",
    ]  # fmt: skip
    assert shapes(graph)["0"] == 8
    graph = build([Parallel([[Dense(3)], [], []], combine="add"), Dense(1)], 3)
    assert shown(graph)[2:6] == ["move: 0.0.0 -> 0", "add: X -> 0", "add: X -> 0", "identity 0"]
    assert shapes(graph)["0"] == 3


def test_heads():
    graph = build([Dense(4), Parallel({"price": [Dense(1)], "kind": [Dense(5, "relu"), Dense(2)]})], 3)
    assert shown(graph) == [
        "dense 0+0: X -> 0", "identity 0", "dense 1+1: 0 -> 1.price.0", "identity 1.price.0",
        "dense 2+2: 0 -> 1.kind.0", "relu 1.kind.0", "dense 3+3: 1.kind.0 -> 1.kind.1", "identity 1.kind.1",
    ]  # fmt: skip
    assert graph.outputs == {"price": 2, "kind": 4}
    # the second head, last in the program, is the first to write the gradient of what they share
    backward = [(op.kind, op.output, op.accumulate) for op in backward_of(graph) if op.kind == "dense_back"]
    assert backward == [("dense_back", 3, False), ("dense_back", 1, False), ("dense_back", 1, True)]


# ---- shared ----------------------------------------------------------------------------------------------------------


def test_one_object_in_two_places_is_one_set_of_weights():
    step = Shared(Dense(3, "tanh", dropout=0.5))
    graph = build([step, step, Dense(1)], 3)
    assert shown(graph) == [
        "dense 0+0: X -> 0", "tanh 0 drop 0.5", "dense 0+0: 0 -> 1", "tanh 1 drop 0.5", "dense 1+1: 1 -> 2",
        "identity 2",
    ]  # fmt: skip
    assert graph.n_parameters == 16 and graph.places == [(0, 0, False), (0, 0, False), (1, 1, False)]
    assert [v.stream for v in graph.values] == [0, 1, 2, 3]  # each place drops for itself
    graph = build([Shared(Dense(3)), Shared(Dense(3)), Dense(1)], 3)  # equal settings, made one by one
    assert len(graph.weights) == 3
    graph = build([Shared(Dense(3), name="a"), Shared(Dense(3), name="a"), Dense(1)], 3)
    assert len(graph.weights) == 2


def test_several_layers_shared():
    """Weights correspond by their order within what is shared, and what is shared in it is so everywhere."""
    within = Shared(Dense(3))
    block = Shared(Residual([Dense(4), Parallel([[within], [Dense(2)]])]))
    with pytest.raises(ValueError, match=r"2.0.0.0\] is shared, .* elsewhere, \(5, 4\), got \(3, 4\) for Dense"):
        build([block, Dense(3), Parallel([[block], [Dense(3)]])], 5)
    graph = build([block, Parallel([[block], [Dense(4), within, within.transposed()]]), Dense(1)], 5)
    of_block = [(0, 0, False), (1, 1, False), (2, 2, False)]  # Dense(4), within, Dense(2)
    assert graph.places == [
        *of_block, *of_block, (3, 3, False), (1, 1, False), (1, 4, True), (5, 5, False),
    ]  # fmt: skip


def test_transposed():
    code = Shared(Dense(2, "tanh", l2=0.5), name="code")
    graph = build([Dense(5), code, code.transposed("relu", dropout=0.25), code, code.transposed()], 4)
    assert shown(graph) == [
        "dense 0+0: X -> 0", "identity 0", "dense 1+1: 0 -> 1", "tanh 1", "transposed 1+2: 1 -> 2", "relu 2 drop 0.25",
        "dense 1+1: 2 -> 3", "tanh 3", "transposed 1+3: 3 -> 4", "identity 4",
    ]  # fmt: skip
    assert weights(graph)[1:] == [("weight", 5, 2, True, 25), ("bias", 0, 5, True, 37), ("bias", 0, 5, True, 42)]
    assert graph.places[2:] == [(1, 2, True), (1, 1, False), (1, 3, True)]
    both = Shared(code.transposed())  # its bias too
    graph = build([Dense(5), code, both, code, both], 4)
    assert graph.places[2:] == [(1, 2, True), (1, 1, False), (1, 2, True)]


# ---- what can't be built ---------------------------------------------------------------------------------------------

A = Shared(Dense(3), name="a")
HEADS = Parallel({"a": [Dense(1)]})


def test_scales():
    graph = build([Scale(), Dense(4, "relu"), Scale(bias=False), Activation("tanh"), PReLU()], 3)
    assert shown(fused(graph)) == [
        "scale 0+0: X -> 0", "identity 0", "dense 1+1: 0 -> 1", "relu 1", "scale 2: 1 -> 2", "tanh 2",
        "prelu 3: 2 -> 4", "identity 4",
    ]  # fmt: skip
    assert weights(graph) == [("scale", 1, 3, True, 0), ("weight", 3, 4, True, 6), ("scale", 1, 4, False, 22)] + [
        ("scale", 1, 4, False, 26)
    ]
    assert [w.start for w in graph.weights] == [1, 1, 1, 0.25]
    assert graph.places == [(0, 0, False), (1, 1, False), (2, -1, False), (3, -1, False)]
    back = [(op.kind, op.weights) for op in backward_of(graph) if op.weights != 1 and op.weights >= 0]
    assert back == [("prelu_back", 3), ("scale_back", 2)]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "layers must be a list or tuple of at least one layer, got []"),
        (Dense(3), "layers must be a list or tuple of at least one layer, got Dense(n_units=3"),
        ([Dense(3), 3], "layers[1] must be a layer, got 3"),
        ([Dense(3), LeakyReLU()], "layers[1] must be a layer, got LeakyReLU()"),
        ([HEADS, Dense(3)], "layers[0] must have no heads, which are for the network's last layer, got Parallel("),
        ([Dense(3, dropout=0.5)], "layers[0] must have dropout=0 as an output layer, got 0.5 in Dense("),
        ([Dense(3), Dropout(0.5)], "layers[1] must have dropout=0 as an output layer, got 0.5 in Dropout("),
        (
            [Parallel({"a": [Dense(1)], "b": [Dense(1, dropout=0.5)]})],
            "layers[0.b.0] must have dropout=0 as an output layer, got 0.5 in Parallel(",
        ),
        ([Activation("relu")], "layers must hold at least one with weights, which can learn, got (Activation("),
        ([Dense(5), Residual([Dense(4)])],
         "layers[1] must have as many units at its end as it takes, 5, unless projection='linear', got 4 for "),
        ([Dense(5), Residual([Residual([Dense(4)])])], "layers[1.0] must have as many units at its end as it takes, 5"),
        ([Parallel([[Dense(2)], []], combine="add")],
         "layers[0] must have the same number of units in all branches to add, got [2, 7] for Parallel("),
        ([A, Dense(5), A], "layers[2] is shared, and must have weights of the shape that it has elsewhere, (7, 3), got "
                           "(5, 3) for Dense(n_units=3"),
        ([A, Shared(Dense(3, "relu"), name="a")], "layers[1] is shared under the name 'a', all places of which must "),
        ([Dense(3), A.transposed(), A], "layers[1] is Transposed(name='a'), which "
                                        "must come after a Shared Dense of this name, got none"),
        ([Shared(RBF(3), name="a"), A.transposed()], "after a Shared Dense of this name, got RBF(n_units=3"),
        ([A, Dense(4), A.transposed()],
         "layers[2] must take the 3 units of the layer that it is the transposed of, got 4 for Transposed("),
        ([Dense(2**31 - 1), Parallel([[], []])], "layers[1] must have at most 2147483647 units, got 4294967294"),
    ],
)  # fmt: skip
def test_what_is_no_network(layers, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build(layers, 7)


def test_n_inputs():
    with pytest.raises(ValueError, match="n_inputs must be an integer"):
        build([Dense(1)], 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Activation("square"), "activation must be one of"),
        (lambda: Dropout(1.0), r"rate must be a number in [0, 1), got 1.0"),
        (lambda: Residual([]), "layers must be a list or tuple of at least one layer, got []"),
        (lambda: Residual([HEADS]), "layers[0] must have no heads, which are for the network's last layer"),
        (lambda: Residual([Dense(1)], "quadratic"), "projection must be None or 'linear', got 'quadratic'"),
        (lambda: Parallel([]), "branches must be a list or dict of lists of layers, got []"),
        (lambda: Parallel({}), "branches must be a list or dict of lists of layers, got {}"),
        (lambda: Parallel([Dense(1)]), "branches[0] must be a list or tuple of layers, got Dense("),
        (lambda: Parallel([[Dense(1)], [3]]), "branches[1][0] must be a layer, got 3"),
        (lambda: Parallel([[HEADS]]), "branches[0][0] must have no heads"),
        (lambda: Parallel([[]], combine="multiply"), "combine must be 'concatenate' or 'add', got 'multiply'"),
        (lambda: Parallel({"a": [Dense(1)]}, combine="add"), "combine is not for heads, which stay apart, got 'add'"),
        (lambda: Parallel({"a": []}), "branches['a'] must be a list or tuple of at least one layer, got []"),
        (lambda: Parallel({"a": [HEADS]}), "branches['a'][0] must have no heads"),
        (lambda: Parallel({"a.b": [Dense(1)]}), "names of heads must be strings, not empty, without '.' and '__'"),
        (lambda: Parallel({3: [Dense(1)]}), "names of heads must be strings, not empty, without '.' and '__', got 3"),
        (lambda: Shared(HEADS), "layer must have no heads"),
        (lambda: Shared(3), "layer must be a layer, got 3"),
        (lambda: Shared(Dense(3), name=""), "name must be a string that is not empty, got ''"),
        (lambda: Shared(RBF(3)).transposed(), "layer must be a Dense to be transposed, got RBF("),
        (lambda: A.transposed("square"), "activation must be one of"),
        (lambda: Transposed("a", dropout=2), r"dropout must be a number in [0, 1), got 2"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_depth_is_bounded():
    layer = Dense(2)
    for _ in range(DEPTH - 1):
        layer = Residual([layer])
    assert build([layer], 2).n_parameters == 6
    for deeper in (lambda: Residual([layer]), lambda: Parallel([[], [layer]]), lambda: Shared(layer)):
        with pytest.raises(ValueError, match="must have layers within layers at most 20 deep, got more"):
            build([deeper()], 2)
