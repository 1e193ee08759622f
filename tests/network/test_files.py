"""Files: what `save` leaves when it fails, and what `load` makes of files that are damaged or made to do harm."""

import io
import json
import os
import pickle
import random
import signal
import stat
import subprocess
import sys
import threading
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastbp.network
from fastbp import (
    ELU,
    RBF,
    Adam,
    Dense,
    Huber,
    LeakyReLU,
    Network,
    Orthogonal,
    Parallel,
    ReduceOnPlateau,
    Residual,
    SoftmaxCrossEntropy,
    VarianceScaling,
)
from fastbp.losses import Lp

pytestmark = pytest.mark.once


def make(n_inputs=3, n_units=4, seed=0, heads=False):
    if heads:
        layers = [Residual([Dense(n_inputs, "tanh")]), Parallel({"a": [Dense(1)], "b": [Dense(2)]})]
        loss, loss_weights = {"a": "huber", "b": Lp(3)}, {"b": 0.5}
        return Network(layers, n_inputs=n_inputs, loss=loss, loss_weights=loss_weights, random_state=seed)
    return Network([Dense(n_units, "tanh"), Dense(1)], n_inputs=n_inputs, random_state=seed)


def run(script, *arguments, **settings):
    return subprocess.Popen([sys.executable, "-P", "-c", script, *map(str, arguments)], **settings)


# ---- save ------------------------------------------------------------------------------------------------------------


def save_on_a_full_disk(file, room):
    """The exit code of a child that may write so many bytes: 7 where it fails as it ought to."""
    import resource

    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
        Network([Dense(100)], n_inputs=1000).save(file)
    except OSError:
        code = 7
    finally:
        os._exit(code)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX limits")
@pytest.mark.parametrize("room", [0, 100, 400_000])
@pytest.mark.parametrize("exists", [False, True])
def test_save_on_a_full_disk_leaves_the_old_file(tmp_path, room, exists):
    file = tmp_path / "net.npz"
    if exists:
        make().save(file)
    before = file.read_bytes() if exists else None
    assert save_on_a_full_disk(file, room) == 7
    assert [path.read_bytes() for path in tmp_path.iterdir()] == ([before] if exists else [])


SAVE_FOR_EVER = """
import sys
from fastbp import Dense, Network

net = Network([Dense(1000)], n_inputs=1000)
net.save(sys.argv[1])
print(flush=True)
while True:
    net.save(sys.argv[1])
"""


def test_kill_leaves_the_old_file_or_the_new(tmp_path):
    file = tmp_path / "net.npz"
    for i in range(3):
        with run(SAVE_FOR_EVER, file, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(0.017 * (i + 1))
            process.send_signal(signal.SIGKILL)
        assert Network.load(file).parameters.size == 1_001_000


def test_readers_see_the_old_file_or_the_new(tmp_path):
    file, done, seen = tmp_path / "net.npz", threading.Event(), []
    nets = [make(300, 300, seed) for seed in range(2)]
    nets[0].save(file)

    def read():
        while not done.is_set():
            try:
                seen.append(float(Network.load(file).parameters[0]))
            except ValueError as error:
                seen.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for i in range(40):
            nets[i % 2].save(file)
    finally:
        done.set()
        reader.join()
    assert len(seen) > 1 and set(seen) <= {net.parameters[0] for net in nets}


def test_an_error_of_any_kind_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "net.npz"
    make().save(file)
    before = file.read_bytes()
    for error in (OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()):

        def savez(stream, error=error, **arrays):
            stream.write(b"half of it")
            raise error

        monkeypatch.setattr(np, "savez", savez)
        with pytest.raises(type(error)):
            make().save(file)
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


def test_mode_and_link(tmp_path):
    """As if the file had been written to: its mode stays, that of a new one is the umask's, a link stays a link."""
    file, link, net = tmp_path / "net.npz", tmp_path / "link", make()
    umask = os.umask(0o027)
    try:
        net.save(file)
        assert stat.S_IMODE(file.stat().st_mode) == 0o640
        file.chmod(0o604)
        link.symlink_to("net.npz")
        net.parameters[:] = 3
        net.save(link)
    finally:
        os.umask(umask)
    assert link.is_symlink() and stat.S_IMODE(file.stat().st_mode) == 0o604
    assert (Network.load(file).parameters == 3).all()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "net.npz"]
    with pytest.raises(FileNotFoundError):
        net.save(tmp_path / "none" / "net.npz")


def test_what_is_no_file_is_written_to(tmp_path):
    pipe, net, read = tmp_path / "pipe", make(), []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    net.save(pipe)
    reader.join()
    assert_array_equal(Network.load(io.BytesIO(read[0])).parameters, net.parameters)
    assert [stat.S_ISFIFO(path.stat().st_mode) for path in tmp_path.iterdir()] == [True]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write to any file")
def test_a_file_that_must_not_be_written_to(tmp_path):
    file = tmp_path / "net.npz"
    make().save(file)
    file.chmod(0o444)
    with pytest.raises(PermissionError):
        make().save(file)


# ---- load ------------------------------------------------------------------------------------------------------------


def test_a_file_of_version_0_1_0():
    net = Network.load(Path(__file__).parent / "data" / "network-0.1.0.npz")
    assert net.layers == (
        RBF(5, dropout=0.1), Dense(6, LeakyReLU(0.2), l1=0.001, initializer=Orthogonal(1.5), max_norm=3.0),
        Dense(6, ELU(0.7), l2=0.01, dropout=0.2),
        Dense(6, "softplus", initializer=VarianceScaling(2.0, "fan_out", "uniform")), Dense(6, "silu"), Dense(4),
    )  # fmt: skip
    assert (net.n_inputs, net.loss, net.dtype, net.initializer, net.ties, net.l1, net.l2) == (
        3, SoftmaxCrossEntropy(0.1, fixed_logit=True), np.float32, Orthogonal(), ((2, 3, 0.1),), 1e-4, 0.002,
    )  # fmt: skip
    assert (net.input_dropout, net.input_noise) == (0.1, 0.05)
    X = [[0.1257302210933933, -0.1321048632913019, 0.6404226504432821]]
    expected = [[0.2688407003879547, 0.23100115358829498, 0.23254431784152985, 0.26761379837989807]]
    assert_allclose(net.predict(X), expected, rtol=1e-5)


def test_a_pickle_of_version_0_1_0():
    net = pickle.loads((Path(__file__).parent / "data" / "network-0.1.0.pickle").read_bytes())
    assert net.layers == (Dense(3, LeakyReLU(0.2), l2=0.1), RBF(2, dropout=0.1), Dense(2))
    assert (net.n_inputs, net.loss, net.l1, net.l2, net.dtype) == (2, Huber(2.0), 0.01, 0.0, np.float32)
    X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    expected = [[0.43983483, 0.61938846], [0.32669857, 0.19848187], [0.4516877, 0.7374483], [0.33706546, 0.27900437]]
    assert_allclose(net.predict(X), expected, rtol=1e-5)
    twin = pickle.loads(pickle.dumps(net))
    for again in (net, twin):  # with the optimizer's state, and random numbers
        again.partial_fit(
            X, np.hstack([X[:, :1], 1 - X[:, 1:]]), optimizer=Adam(ReduceOnPlateau(0.1)), epochs=2, batch_size=2
        )  # fmt: skip
        expected = [
            [0.13350335, 0.80813116], [0.07797144, 0.29692888], [0.1476154, 0.92057908], [0.08714554, 0.37367731],
        ]  # fmt: skip
        assert_allclose(again.predict(X), expected, rtol=1e-4)


def test_pickles_of_version_0_1_0_find_their_classes():
    names = {
        "network": ("Network", "History"), "full_batch": ("Rprop", "Quickprop", "Newton", "NewtonCG", "BFGS", "LBFGS"),
    }  # fmt: skip
    for module, classes in names.items():
        for name in classes:
            assert pickle.loads(f"cfastbp.{module}\n{name}\n.".encode()).__name__ == name


def parts(net):
    """Settings and parameters, as they are in a file."""
    stream = io.BytesIO()
    net.save(stream)
    stream.seek(0)
    with np.load(stream) as archive:
        return json.loads(str(archive["settings"])), archive["parameters"]


def write(file, settings, parameters, savez=np.savez):
    savez(file, settings=np.array(settings if isinstance(settings, str) else json.dumps(settings)),
          parameters=parameters)  # fmt: skip


def refused(file):
    """Loading it is a ValueError, at once and without much memory."""
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(ValueError, match="file must be a network saved by Network.save"):
        Network.load(file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.perf_counter() - start < 5 and peak < 30_000_000


def test_sizes_are_compared_before_memory_is_taken(tmp_path):
    file, (settings, parameters) = tmp_path / "bad.npz", parts(make())
    write(file, settings | {"n_inputs": 300_000_000}, parameters)
    refused(file)
    layer = settings["layers"][0] | {"n_units": 8000, "initializer": "orthogonal"}
    write(file, settings | {"layers": [layer] * 2}, parameters)
    refused(file)
    layer = settings["layers"][0] | {"n_units": 2**31 - 1}
    write(file, settings | {"n_inputs": 2**31 - 1, "layers": [layer] * 9}, parameters)
    refused(file)
    write(file, settings, np.zeros(20_000_000))  # too many
    refused(file)
    many = {"n_inputs": 10_000_000, "layers": [settings["layers"][1]]}
    write(file, settings | many, np.zeros(10_000_001), np.savez_compressed)  # as many as there should be, in 80 kB
    assert file.stat().st_size < 200_000
    refused(file)


@pytest.mark.parametrize("name", ["settings", "parameters"])
def test_what_an_array_says_of_its_size_is_not_believed(tmp_path, name):
    """A header, and the archive's own list, that name a gigabyte where there are some bytes."""
    file, (settings, parameters) = tmp_path / "bad.npz", parts(make())
    settings |= {"n_inputs": 30_000_000} if name == "parameters" else {}
    n = 31 * 10**6 * 4 if name == "settings" else 30_000_000 * 4 + 4 + 5
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {
        "descr": f"<U{n}" if name == "settings" else "<f8", "fortran_order": False,
        "shape": () if name == "settings" else (n,),
    })  # fmt: skip
    size = len(header.getvalue()) + (4 if name == "settings" else 8) * n
    for claimed in (False, True):
        with zipfile.ZipFile(file, "w") as archive:
            for other, array in (("settings", np.array(json.dumps(settings))), ("parameters", parameters)):
                if other != name:
                    stream = io.BytesIO()
                    np.save(stream, array)
                    archive.writestr(f"{other}.npy", stream.getvalue())
            archive.writestr(f"{name}.npy", header.getvalue() + b"some bytes")
            if claimed:
                info = archive.getinfo(f"{name}.npy")
                info.file_size = info.compress_size = size
        refused(file)


def test_settings_that_lead_nowhere(tmp_path):
    file, (settings, parameters) = tmp_path / "bad.npz", parts(make())
    for bad in (
        "[" * 100_000, "{}", "[]", "3", "null", '"x"', "1" * 10_000, "", settings | {"layers": []},
        settings | {"layers": {}}, settings | {"layers": [3]}, settings | {"layers": [{}]},
        settings | {"n_inputs": 3.0}, settings | {"n_inputs": True}, settings | {"l1": None},
        settings | {"dtype": ">f8"}, settings | {"dtype": None}, settings | {"l1": -1},
        settings | {"l1": float("nan")}, settings | {"loss": "hinge"}, settings | {"loss": {"Lp": {"q": 1}}},
        settings | {"loss": {"Lp": {"p": 2}, "Huber": {}}}, settings | {"loss": []}, settings | {"more": 1},
        settings | {"parameters": [0.0] * parameters.size}, settings | {"random_state": 0},
        settings | {"format": 2}, settings | {"ties": [[0, 1, 2]]},
        {name: value for name, value in settings.items() if name != "l2"},
    ):  # fmt: skip
        write(file, bad, parameters)
        refused(file)
    for bad in (
        parameters.astype("f4"), parameters.astype(">f8"), parameters[:, None], parameters[:-1], parameters.view("i8"),
    ):  # fmt: skip
        write(file, settings, bad)
        refused(file)


def test_settings_of_heads_that_lead_nowhere(tmp_path):
    net = make(heads=True)
    file, (settings, parameters) = tmp_path / "bad.npz", parts(net)
    write(file, settings, parameters)
    assert repr(Network.load(file)) == repr(net)
    for bad in (
        settings | {"loss": [["a", "huber"]]}, settings | {"loss": {"a": "huber", "b": "huber"}},
        settings | {"loss": [["a", "huber"], ["b", {"Lp": {"q": 1}}]]}, settings | {"loss": [[["a"], "huber"]]},
        settings | {"loss": ["ab", "cd"]}, settings | {"loss": "huber"}, settings | {"loss_weights": {"c": 1}},
        settings | {"loss_weights": [1, 2]}, settings | {"loss_weights": {"a": None}}, settings | {"format": 1},
    ):  # fmt: skip
        write(file, bad, parameters)
        refused(file)


@pytest.mark.parametrize("heads", [False, True])
def test_damaged_files(tmp_path, heads):
    """Bytes changed, left out or added: a ValueError, or a network."""
    pytest.importorskip("safetensors")  # which some look like then
    file, stream, draw = tmp_path / "bad.npz", io.BytesIO(), random.Random(0)
    if heads:
        make(heads=True).save(stream)
    else:
        Network([Dense(2, "tanh"), Dense(1)], n_inputs=2, loss=Lp(3), random_state=0).save(stream)
    whole = stream.getvalue()
    outcomes = {ValueError: 0, Network: 0}
    for i in range(1500):
        damaged = bytearray(whole)
        for _ in range(draw.choice([1, 1, 2, 5])):
            at = draw.randrange(len(damaged))
            kind = draw.randrange(5)
            if kind == 0:
                del damaged[at : at + draw.randrange(1, 100)]
            elif kind == 1:
                damaged[at:at] = draw.randbytes(draw.randrange(1, 9))
            elif kind == 2:
                damaged[at : at + 4] = b"\xff" * 4
            else:
                damaged[at] = draw.randrange(256)
        file.write_bytes(damaged)
        for source in (file, io.BytesIO(damaged)) if i % 2 else (file,):
            try:
                outcomes[type(Network.load(source))] += 1
            except ValueError as error:
                assert "file must be a network" in str(error)
                outcomes[ValueError] += 1
    assert min(outcomes.values()) > 20


def test_load_draws_nothing_and_keeps_errors_that_are_not_the_files(tmp_path, monkeypatch):
    file, net = tmp_path / "net.npz", Network([RBF(3), Dense(3, initializer="orthogonal")], n_inputs=2, random_state=0)
    net.save(file)

    def fail(*_):
        raise MemoryError("no 8 bytes")

    monkeypatch.setattr(fastbp.network.start, "initialize", fail)
    again = Network.load(file)
    assert_array_equal(again.parameters, net.parameters)
    monkeypatch.setattr(fastbp.network.model, "Engine", fail)
    with pytest.raises(MemoryError, match="no 8 bytes"):
        Network.load(file)
    with pytest.raises(IsADirectoryError):
        Network.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        Network.load(tmp_path / "none")
    again.fit(np.ones((2, 2)), np.ones((2, 3)))


@pytest.mark.parametrize("file", [None, 3, ["net.npz"]])
def test_what_is_no_file(file):
    net = Network([Dense(1)], n_inputs=1)
    with pytest.raises(TypeError, match="file must be a path or a file object, got"):
        net.save(file)
    with pytest.raises(ValueError, match="file must be a network saved by Network.save, got"):
        Network.load(file)
