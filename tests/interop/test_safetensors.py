"""Networks in files of safetensors: the same as in .npz files, and nothing that is damaged gets through."""

import io
import json
import random
import sys

import numpy as np
import pytest
from graph_cases import BATCH_NORM, N_INPUTS, NETWORKS, network
from numpy.testing import assert_array_equal

from fastbp import Dense, Embed, LayerNorm, Lp, Network, Parallel, Prune, Residual, Sparse, Standardize
from fastbp.network import safetensors

numpy_format = pytest.importorskip("safetensors.numpy")

pytestmark = pytest.mark.once

MORE = {
    "masked": [Dense(6), Dense(6, mask=np.eye(6, dtype=bool)), Dense(2)],
    "drawn": [Sparse(8, 3, "tanh"), Dense(2)],
    "standardized": [Standardize(), Dense(2)],
    "categories": [Embed({3: 4, 1: 3}, dim=2), Dense(2)],
}
ALL = NETWORKS | {f"batch norm {name}": layers for name, layers in BATCH_NORM.items()} | MORE


def assert_same(net, again):
    assert repr(again) == repr(net)
    assert_array_equal(again.parameters, net.parameters)
    assert {name: state.tolist() for name, state in again.layer_state.items()} == {
        name: state.tolist() for name, state in net.layer_state.items()
    }
    for ours, theirs in ((again.masks, net.masks), (again.columns, net.columns)):
        for a, b in zip(ours, theirs, strict=True):
            assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ALL)
def test_round_trip(tmp_path, rng, name, dtype):
    net = network(ALL[name], dtype=dtype, l2=0.1)
    for state in net.layer_state.values():
        state += rng.random(state.shape)
    net.save(tmp_path / "net.safetensors")
    assert_same(net, Network.load(tmp_path / "net.safetensors"))


def test_heads_and_all_settings(tmp_path):
    heads = {"a": [Dense(1)], "b": [Dense(2)]}
    net = Network(
        [Residual([Dense(3, "tanh")]), Parallel(heads)], n_inputs=3, loss={"a": "huber", "b": Lp(3)},
        loss_weights={"b": 0.5}, checkpoint_every=1, input_noise=0.1, initializer="he_normal", random_state=0,
    )  # fmt: skip
    net.save(str(tmp_path / "net.safetensors"))
    assert_same(net, Network.load(str(tmp_path / "net.safetensors")))


def test_pruned(tmp_path, rng):
    net = Network([Dense(6, "tanh"), Dense(1)], n_inputs=N_INPUTS, random_state=0)
    X = rng.normal(size=(20, N_INPUTS))
    net.fit(X, X[:, 0], epochs=3, prune=Prune(0.5, begin=1, end=2))
    net.save(tmp_path / "net.safetensors")
    again = Network.load(tmp_path / "net.safetensors")
    assert_same(net, again)
    again.fit(X, X[:, 0])
    assert_array_equal(again.weights[0] == 0, net.weights[0] == 0)


def test_tensors_have_the_names_of_layers(tmp_path):
    layers = [Embed({0: 3, 1: 2}, dim=2), Dense(4), Residual([LayerNorm(), Dense(4)]), Dense(1)]
    net, file = Network(layers, n_inputs=3, dtype="float32", random_state=0), tmp_path / "net.safetensors"
    net.save(file)
    tensors = numpy_format.load_file(file)
    assert set(tensors) == {
        "0.weight", "0.weight_2", "1.weight", "1.bias", "2.0.weight", "2.0.bias", "2.1.weight", "2.1.bias", "3.weight",
        "3.bias",
    }  # fmt: skip
    assert_array_equal(tensors["0.weight_2"], net.weights[1])
    assert_array_equal(tensors["2.1.bias"], net.biases[4])
    assert tensors["1.weight"].dtype == np.float32


def test_streams_and_names(tmp_path):
    """What a file is, what is in it says."""
    net, file = Network([Dense(1)], n_inputs=2, random_state=0), tmp_path / "net.safetensors"
    net.save(file)
    assert_same(net, Network.load(io.BytesIO(file.read_bytes())))
    file.rename(tmp_path / "net.npz")
    assert_same(net, Network.load(tmp_path / "net.npz"))


def test_damaged_files():
    """Bytes changed, left out or added: a ValueError, or a network."""
    draw, net, outcomes = random.Random(0), Network([Dense(2, "tanh"), Dense(1)], n_inputs=2, random_state=0), set()
    for state in (0, 1):
        layers = [Dense(2), LayerNorm()] if state else [Standardize(), Dense(1)]
        net = Network(layers, n_inputs=2, random_state=0)
        whole = written(net)
        for _ in range(300):
            damaged = bytearray(whole)
            for _ in range(draw.choice([1, 1, 2, 5])):
                at = draw.randrange(len(damaged))
                if draw.random() < 0.2:
                    del damaged[at : at + draw.randrange(1, 100)]
                else:
                    damaged[at] = draw.randrange(256)
            try:
                outcomes.add(type(Network.load(io.BytesIO(damaged))))
            except ValueError as error:
                assert "file must be a network" in str(error)
                outcomes.add(ValueError)
    assert outcomes == {ValueError, Network}


def written(net, **changes):
    """The bytes of a file, with other metadata or tensors."""
    stream = io.BytesIO()
    safetensors.write(stream, net._model)
    data = stream.getvalue()
    length = int.from_bytes(data[:8], "little")
    tensors = numpy_format.load(data) | changes.pop("tensors", {})
    settings = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["settings"]) | changes
    return numpy_format.save({k: v for k, v in tensors.items() if v is not None}, {"settings": json.dumps(settings)})


@pytest.mark.parametrize("change", [
    {"n_inputs": 300_000_000}, {"layers": []}, {"dtype": "float32"}, {"format": 2}, {"more": 1}, {"l1": -1},
    {"tensors": {"0.weight": None}}, {"tensors": {"0.weight": np.zeros((2, 3))}}, {"tensors": {"more": np.zeros(2)}},
    {"tensors": {"0.bias": np.zeros(2, "f4")}}, {"tensors": {"0.weight.mask": np.zeros((2, 2), bool)}},
], ids=str)  # fmt: skip
def test_what_does_not_fit_is_refused(change):
    net = Network([Dense(2), Dense(1)], n_inputs=2, random_state=0)
    Network.load(io.BytesIO(written(net)))
    with pytest.raises(ValueError, match="file must be a network saved by Network.save"):
        Network.load(io.BytesIO(written(net, **change)))


def test_without_the_library(tmp_path, monkeypatch):
    net, file = Network([Dense(1)], n_inputs=2, random_state=0), tmp_path / "net.safetensors"
    net.save(file)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    monkeypatch.delitem(sys.modules, "safetensors", raising=False)
    for call in (net.save, Network.load):
        with pytest.raises(ImportError, match="pip install 'fastbp.safetensors"):
            call(file)
