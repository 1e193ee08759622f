"""Layers of layers are settings: parameters by name, copies of all kinds, JSON."""

import copy
import json
import pickle

import numpy as np
import pytest
from sklearn.base import clone

import fastbp
from fastbp import (
    ELU,
    RBF,
    Activation,
    Dense,
    Dropout,
    LeakyReLU,
    LowRank,
    Orthogonal,
    Parallel,
    Periodic,
    PiecewiseLinear,
    PReLU,
    Residual,
    Scale,
    Shared,
    Sparse,
    VarianceScaling,
)
from fastbp.checks import check_in_dtype
from fastbp.layers import build, from_json, to_json
from fastbp.layers.layer import DEPTH

CODE = Shared(Dense(3, "tanh", l2=0.1, max_norm=2.0, initializer=Orthogonal(1.5)))
LAYERS = [
    PiecewiseLinear(3, 2, "tanh", [5, 0], l1=0.1),
    Dense(4, LeakyReLU(0.2), l1=0.1, initializer=VarianceScaling(2.0, "fan_out")), Activation(ELU(0.5)), Dropout(0.25),
    Residual([RBF(5, 0.1), Residual([Dense(5)])], projection="linear"), CODE, Dense(5), CODE, Scale(bias=False),
    PReLU(0.5), CODE.transposed("relu", 0.5), LowRank(5, 2, "tanh", l1=0.1, initializer=Orthogonal(1.5)),
    Sparse(5, 2, "tanh", l1=0.1, initializer=Orthogonal(1.5)), Periodic(2, 0.1, 3, ELU(0.5), max_norm=2.0), Dense(5),
    Shared(Residual([Activation("gelu"), Dense(5)]), name="block"),
    Parallel([[], [Dense(2), Dense(2)], [Parallel([[Dense(2)], [Dense(2)]], "add")]]),
    Parallel({"price": [Dense(1)], "kind": [Dense(4), Activation("softmax")]}),
]  # fmt: skip


@pytest.mark.parametrize(
    "copied",
    [
        lambda layers: pickle.loads(pickle.dumps(layers)),
        lambda layers: [pickle.loads(pickle.dumps(layer)) for layer in layers],
        copy.deepcopy, copy.copy, clone,
        lambda layers: [copy.deepcopy(layer) for layer in layers],
        lambda layers: [from_json(json.loads(json.dumps(to_json(layer)))) for layer in layers],
        lambda layers: eval(repr(layers), vars(fastbp).copy()),
        lambda layers: [type(layer)(**layer.get_params(deep=False)) for layer in layers],
        lambda layers: [layer.set_params(**layer.get_params()) for layer in layers],
    ],
    ids=["pickle", "pickle each", "deepcopy", "copy", "clone", "deepcopy each", "json", "repr", "params", "set_params"],
)  # fmt: skip
def test_copies_are_the_same_network(copied):
    again = copied(LAYERS)
    assert again == LAYERS and list(map(hash, again)) == list(map(hash, LAYERS)) and repr(again) == repr(LAYERS)
    assert build(again, 6) == build(LAYERS, 6)
    assert [w.layer for w in build(again, 6).weights].count(CODE.layer) == 1
    heads = again[-1].branches
    assert list(heads) == ["price", "kind"] and heads["kind"][0] == Dense(4) and len(heads) == 2


def test_what_differs():
    assert Shared(Dense(3)) != Shared(Dense(3)) and Shared(Dense(3), name="a") == Shared(Dense(3), name="a")
    a, b = Parallel({"a": [Dense(1)], "b": [Dense(2)]}), Parallel({"b": [Dense(2)], "a": [Dense(1)]})
    assert a != b  # the order is that of weights
    with pytest.raises(TypeError):
        a.branches["a"] = (Dense(3),)
    given = {"a": [Dense(1)]}
    layer = Parallel(given)
    given["a"].append(Dense(2))
    given["b"] = []
    assert layer == Parallel({"a": [Dense(1)]})


def test_pickles_name_the_package():
    """As those of version 0.1.0 do."""
    for layer in (*LAYERS, LeakyReLU(), ELU()):
        assert type(layer).__module__ == "fastbp.layers"
    assert pickle.loads(b"cfastbp.layers\nDense\n(I3\ntR.") == Dense(3)


def test_params_within():
    layer = Residual([Dense(3, LeakyReLU(0.2)), Shared(Dense(4), name="a")])
    params = layer.get_params()
    assert params["layers__0__activation__slope"] == 0.2 and params["layers__1__layer__n_units"] == 4
    assert params["layers__0"] == Dense(3, LeakyReLU(0.2)) and params["layers__1__name"] == "a"
    changed = layer.set_params(
        layers__0__activation__slope=0.3, layers__1__layer__n_units=5, layers__1__layer__dropout=0.5
    )
    assert changed == Residual([Dense(3, LeakyReLU(0.3)), Shared(Dense(5, dropout=0.5), name="a")])
    assert layer.set_params(layers__1=Dense(2), layers__1__n_units=7).layers[1] == Dense(7)
    assert layer.set_params(layers=[Dense(1)], layers__0__n_units=2, projection="linear") == Residual(
        [Dense(2)], "linear"
    )
    heads = Parallel({"price": [Dense(1)], "kind": [Dense(4)]})
    assert heads.get_params()["branches__kind__0__n_units"] == 4
    changed = heads.set_params(branches__kind__0__n_units=5, branches__price=[Dense(2), Dense(1)])
    assert changed == Parallel({"price": [Dense(2), Dense(1)], "kind": [Dense(5)]})
    branches = Parallel([[], [Dense(4)]])
    assert branches.set_params(branches__0=[Dense(2)]) == Parallel([[Dense(2)], [Dense(4)]])
    for holder, params, message in (
        (layer, {"layers__2__n_units": 3}, "Invalid parameter '2__n_units' for tuple: 2 is None"),
        (layer, {"layers__2": Dense(3)}, r"Invalid parameter '2' for \(Dense.* Valid parameters are: \['0', '1'\]"),
        (layer, {"layers__0__colour": 3}, "Invalid parameter 'colour' for Dense"),
        (layer, {"layers__0__n_units": 0}, "n_units must be an integer"),
        (heads, {"branches__size": [Dense(1)]}, r"Invalid parameter 'size' .* Valid parameters are: \['price', 'kind'"),
        (Residual([Dense(3)]), {"layers__0__activation__slope": 1}, "activation is 'identity', which has no"),
    ):
        with pytest.raises(ValueError, match=message):
            holder.set_params(**params)


def test_settings_within_must_be_in_the_networks_dtype():
    for layer in (Residual([Dense(3, l2=1e300)]), Parallel([[], [Dense(3, l2=1e300)]]), Shared(Dense(3, l2=1e300)),
                  Parallel({"a": [Dense(3), Dense(3, l2=1e300)]})):  # fmt: skip
        check_in_dtype(np.dtype("float64"), layers=(layer,))
        with pytest.raises(ValueError, match=r"Dense\(.*l2=1e\+300.* is not for a network's dtype float32"):
            check_in_dtype(np.dtype("float32"), layers=(layer,))
    check_in_dtype(np.dtype("float32"), layers=tuple(LAYERS))


# ---- JSON ------------------------------------------------------------------------------------------------------------


def test_json_of_dense_and_rbf_is_that_of_version_0_1_0():
    assert to_json(Dense(3, LeakyReLU(0.2), dropout=0.5)) == {
        "n_units": 3, "activation": {"LeakyReLU": {"slope": 0.2}}, "l1": None, "l2": None, "initializer": None,
        "dropout": 0.5, "max_norm": None,
    }  # fmt: skip
    assert to_json(RBF(3)) == {"RBF": {"n_units": 3, "dropout": 0.0}}
    assert from_json({"n_units": 3}) == Dense(3)


@pytest.mark.parametrize(
    "data",
    [
        None, 3, "Dense", [], [{}], {}, {"Dense": {"n_units": 3}}, {"Network": {}}, {"Layer": {}}, {"RBF": 3},
        {"RBF": None}, {"RBF": []}, {"RBF": {"n_units": 3}, "Dropout": {"rate": 0.5}}, {"RBF": {"n_units": "3"}},
        {"n_units": 3, "activation": {"Dense": {"n_units": 3}}}, {"n_units": 3, "activation": {}},
        {"n_units": 3, "activation": []}, {"n_units": 3, "activation": 3}, {"n_units": 3, "initializer": {"ELU": {}}},
        {"n_units": 3, "initializer": []}, {"n_units": {"RBF": {"n_units": 3}}}, {"n_units": 3, "build": 3},
        {"n_units": 3, "layers": [{"n_units": 3}]}, {"Dropout": {}}, {"Dropout": {"rate": [0.5]}},
        {"Activation": {"activation": None}}, {"Residual": {"layers": []}}, {"Residual": {"layers": 3}},
        {"Residual": {"layers": {}}}, {"Residual": {"layers": "abc"}}, {"Residual": {"layers": [3]}},
        {"Residual": {"layers": [{"n_units": 3}], "projection": []}}, {"Residual": {"layers": {"n_units": 3}}},
        {"Residual": [{"n_units": 3}]}, {"Parallel": {"branches": [{"n_units": 3}]}}, {"Parallel": {"branches": 3}},
        {"Parallel": {"branches": {"": [{"n_units": 3}]}}}, {"Parallel": {"branches": [[]], "combine": []}},
        {"Shared": {"layer": {"n_units": 3}, "name": 3}}, {"Shared": {"layer": {"n_units": 3}, "name": []}},
        {"Shared": {"layer": [{"n_units": 3}]}}, {"Shared": {"layer": 3, "name": "a"}}, {"Shared": {"name": "a"}},
        {"Transposed": {"name": {}}}, {"Transposed": {"name": "a", "shared": "a"}},
    ],
)  # fmt: skip
def test_json_that_is_no_layer(data):
    with pytest.raises(ValueError):
        from_json(data)


def test_json_is_read_to_a_depth():
    data = {"n_units": 2}
    for _ in range(DEPTH - 1):
        data = {"Residual": {"layers": [data]}}
    assert to_json(from_json(data))["Residual"]["projection"] is None
    for deeper in ({"Residual": {"layers": [data]}}, {"Shared": {"layer": data}}, {"Parallel": {"branches": [[data]]}},
                   {"Parallel": {"branches": {"a": [data]}}}):  # fmt: skip
        with pytest.raises(ValueError, match="at most 20 deep"):
            from_json(deeper)
    for _ in range(100_000):
        data = {"Residual": {"layers": [data]}}
    with pytest.raises(ValueError, match="at most 20 deep"):
        from_json(data)
