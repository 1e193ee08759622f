"""Files, pickles and copies of a network go on as it would."""

import copy
import io
import pickle

import numpy as np
import pytest
from network_cases import make, problem
from numpy.testing import assert_array_equal

from fastbp import ELU, Adam, Dense, Huber, LeakyReLU, Lp, Network, Quantile, SoftmaxCrossEntropy


@pytest.mark.parametrize("loss", ["gaussian", Lp(3), Huber(2), Quantile([0.1, 0.9]), SoftmaxCrossEntropy(0.1)])
def test_save_load_costs(rng, loss):
    net, stream = make([3, 4], loss=loss), io.BytesIO()
    net.save(stream)
    stream.seek(0)
    again = Network.load(stream)
    assert again.loss == loss and repr(again) == repr(net) and pickle.loads(pickle.dumps(net)).loss == loss


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_save_load_pickle_copy(rng, tmp_path, dtype):
    X, y, _ = problem(rng, 30, 5, 3, "softmax_cross_entropy")
    net = Network(
        [Dense(8, LeakyReLU(0.3), l1=0.1), Dense(8, ELU(2.0)), Dense(3)], n_inputs=5, loss="softmax_cross_entropy",
        l2=0.3, dtype=dtype, random_state=0,
    )  # fmt: skip
    net.fit(X, y, optimizer=Adam(0.1), epochs=3)
    net.save(tmp_path / "net")
    stream = io.BytesIO()
    net.save(stream)
    stream.seek(0)
    for again in (
        Network.load(tmp_path / "net"), Network.load(stream), pickle.loads(pickle.dumps(net)), copy.deepcopy(net)
    ):  # fmt: skip
        assert repr(again) == repr(net)
        assert_array_equal(again.predict(X), net.predict(X))
    net.partial_fit(X, y, optimizer=Adam(0.1), epochs=2)
    again.partial_fit(X, y, optimizer=Adam(0.1), epochs=2)  # the copy went on with state and random numbers
    assert_array_equal(again.parameters, net.parameters)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("code from a file was run",))


def test_load_runs_no_code_and_says_what_is_wrong(tmp_path):
    file = tmp_path / "bad.npz"
    for arrays in (
        {"settings": np.array([Bomb()], dtype=object), "parameters": np.zeros(3)},
        {"settings": np.array("{}"), "parameters": np.zeros(3)},
        {"settings": np.array("not json"), "parameters": np.zeros(3)},
        {"parameters": np.zeros(3)},
    ):
        np.savez(file, **arrays)
        with pytest.raises(ValueError, match="file must be a network saved by Network.save"):
            Network.load(file)
    file.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="file must be"):
        Network.load(file)
    with pytest.raises(FileNotFoundError):
        Network.load(tmp_path / "none.npz")
