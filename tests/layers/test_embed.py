"""`Embed`: settings, and its place in a network."""

import json
import pickle

import numpy as np
import pytest
from sklearn.base import clone

import fastbp
from fastbp import Dense, Embed, Network, Parallel, Residual, Shared, VarianceScaling
from fastbp.layers import build, from_json, to_json

pytestmark = pytest.mark.once


@pytest.mark.parametrize(("settings", "message"), [
    ({"columns": [3]}, r"columns must be a dict of columns of X with their numbers of categories, got \[3\]"),
    ({"columns": {}}, "columns must be a dict of columns of X with their numbers of categories, got {}"),
    ({"columns": {"a": 3}}, "columns must be integers from 0 on, got 'a'"),
    ({"columns": {-1: 3}}, "columns must be integers from 0 on, got -1"),
    ({"columns": {True: 3}}, "columns must be integers from 0 on, got True"),
    ({"columns": {1.0: 3}}, "columns must be integers from 0 on, got 1.0"),
    ({"columns": {3: 0}}, r"columns\[3\] must be an integer of at least 1 .*, got 0"),
    ({"columns": {3: 2.0}}, r"columns\[3\] must be an integer of at least 1 .*, got 2.0"),
    ({"columns": {3: 2**24 + 1}}, r"columns\[3\] must be at most 2\*\*24, got 16777217"),
    ({"dim": 0}, "dim must be an integer of at least 1 .*, got 0"),
    ({"dim": {3: 2}}, r"dim must have the keys of columns, \[3, 5\], got {3: 2}"),
    ({"dim": {3: 2, 5: 0}}, r"dim\[5\] must be an integer of at least 1 .*, got 0"),
    ({"l1": -1}, r"l1 must be a number in \[0, inf\), got -1"),
    ({"l2": np.nan}, r"l2 must be a number in \[0, inf\), got nan"),
    ({"initializer": "none"}, "initializer must be one of"),
])  # fmt: skip
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Embed(**{"columns": {3: 12, 5: 40}, "dim": 4, **settings})


@pytest.mark.parametrize(("layers", "message"), [
    ([Embed({3: 2}, 1)], r"layers\[0\] must have columns from 0 to 2, got 3 in Embed"),
    ([Dense(4), Embed({1: 2}, 1)], r"layers\[1\] must be a first layer, whose columns are those of X, got Embed"),
    ([Residual([Dense(3), Embed({1: 2}, 1)])], r"layers\[0.1\] must be a first layer"),
    ([Residual([Embed({1: 2}, 2)])], r"layers\[0\] must have as many units at its end as it takes, 3, unless"),
])  # fmt: skip
def test_bad_places(layers, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        build(layers, 3)


def test_copies():
    layer = Embed({np.int64(5): np.int32(40), 3: 12}, {5: 8, 3: np.int64(2)}, l2=0.5)
    assert list(layer.columns.items()) == [(5, 40), (3, 12)] and layer.dim[3] == 2
    copies = [
        pickle.loads(pickle.dumps(layer)), clone(layer), from_json(json.loads(json.dumps(to_json(layer)))),
        eval(repr(layer), vars(fastbp).copy()), Embed(**layer.get_params(deep=False)),
        layer.set_params(**layer.get_params()),
    ]  # fmt: skip
    for other in copies:
        assert other == layer and hash(other) == hash(layer) and repr(other) == repr(layer)
        assert build([other], 7) == build([layer], 7)
    assert layer.get_params()["initializer__mode"] == "fan_out" and "columns__5" not in layer.get_params()
    assert layer.set_params(columns={5: 41, 3: 12}).columns[5] == 41
    with pytest.raises(ValueError, match="columns is .* which has no parameters of its own"):
        layer.set_params(columns__5=41)


def test_values_and_tables():
    """Others first, in runs; tables in the order of `columns`; a shared one has the tables once."""
    shared = Shared(Embed({2: 4}, 3))
    graph = build([Parallel([[Embed({5: 4, 1: 7}, {5: 2, 1: 3})], [shared], [shared, Dense(2)]])], 7)
    assert [(w.n_in, w.n_out, w.has_bias) for w in graph.weights] == [
        (4, 2, False), (7, 3, False), (4, 3, False), (9, 2, True)
    ]  # fmt: skip
    moves = [(op.source, op.n, op.column) for op in graph.forward if op.kind == "move" and op.output == 1]
    assert moves == [(0, 1, 0), (2, 3, 1), (6, 1, 4)]
    embeds = [(op.source, op.weights, op.column) for op in graph.forward if op.kind == "embed"]
    assert embeds == [(5, 0, 5), (1, 1, 7), (2, 2, 6), (2, 2, 6)]


def test_initial_tables():
    """N(0, 1 / dim), whatever the network's rule is, or as a rule of the layer's own."""
    net = Network(
        [Embed({0: 4000, 1: 3000}, {0: 4, 1: 25}), Dense(3)], n_inputs=3, initializer="zeros", random_state=0
    )
    for table, dim in zip(net.weights, (4, 25), strict=False):
        assert abs(table.std() * np.sqrt(dim) - 1) < 0.02 and abs(table.mean()) < 0.01
    assert not net.weights[2].any() and net.biases[0] is None
    layer = Embed({0: 4000}, 4, initializer=VarianceScaling(4, "fan_out"))
    net = Network([layer, Dense(3)], n_inputs=3, random_state=0)
    assert abs(net.weights[0].std() - 1) < 0.02


def test_no_noise():
    for settings in ({"input_noise": 0.1}, {"input_dropout": 0.5}):
        ((name, value),) = settings.items()
        with pytest.raises(ValueError, match=f"^{name} must be 0 with Embed, .*, got {value}"):
            Network([Embed({0: 3}, 2), Dense(1)], n_inputs=2, **settings)
