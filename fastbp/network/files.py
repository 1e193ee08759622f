"""Networks in files: an ``.npz`` archive with the settings as JSON, the parameters, and the state of layers that have
some; or the same as safetensors has it."""

import errno
import math
import os
import secrets
import stat
import zipfile
from contextlib import contextmanager, nullcontext, suppress

import numpy as np

from .. import layers
from . import safetensors, saved
from .model import Model


def save(file, model):
    """Write a model to a file object, or to the file of this name: all of it, or what is there stays.

    The format is ``.npz``, or safetensors if the name ends so.
    """
    if hasattr(file, "write"):
        _write(file, model)
    elif not isinstance(file, str | bytes | os.PathLike):
        raise TypeError(f"file must be a path or a file object, got {file!r}")
    else:
        write = safetensors.write if os.fsdecode(file).endswith(".safetensors") else _write
        with replacing(file) as stream:
            write(stream, model)


def _write(stream, model):
    arrays = {"settings": np.array(saved.to_json(model)), "parameters": model.parameters}
    if model.graph.states:
        arrays["layer_state"] = model.layer_state
    if saved.is_pruned(model):
        arrays["masks"] = np.packbits(np.concatenate([
            np.ones(w.n_in * w.n_out, bool) if mask is None else mask.ravel() != 0
            for mask, w in zip(model.masks, model.graph.weights, strict=True)
        ]))  # fmt: skip
    np.savez(stream, **arrays)


def load(file):
    """A model from what `save` wrote.

    Whatever the file says, no memory is taken before it is known to be in proportion to the file's length.

    Parameters
    ----------
    file : str, path or file object

    Returns
    -------
    model : Model

    Raises
    ------
    ValueError
        If the file is not one that `save` wrote.
    """
    try:
        with nullcontext(file) if hasattr(file, "read") else open(os.fsdecode(file), "rb") as stream:
            return safetensors.read(stream) if safetensors.is_one(stream) else _read(stream)
    except (MemoryError, ImportError):
        raise
    except Exception as error:
        # seeking to before the beginning, as a damaged archive makes zipfile do
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise ValueError(f"file must be a network saved by Network.save, got {file!r}: {error}") from error


def _read(stream):
    with zipfile.ZipFile(stream) as archive:
        settings = _settings(archive)
        graph = layers.build(settings["layers"], settings["n_inputs"])
        sizes = {"parameters": graph.n_parameters} | ({"layer_state": graph.n_state} if graph.states else {})
        for name, size in sizes.items():
            with _array(archive, name) as (_, shape, dtype):
                if shape != (size,) or dtype != np.dtype(settings["dtype"]):
                    raise ValueError(f"{name} of {dtype} in shape {shape} do not fit the settings")
        model = Model(**settings)
        for name in sizes:
            with _array(archive, name) as (array, _, _):
                _fill(getattr(model, name), array)
        if _is_pruned(archive):
            model.masks = _masks(archive, model.graph)
        return model


def _settings(archive):
    """The settings, with all objects among them made."""
    with _array(archive, "settings") as (stream, shape, dtype):
        if shape != () or dtype.kind != "U":
            raise ValueError(f"settings must be a string, got {dtype} in shape {shape}")
        text = np.zeros(shape, dtype)
        _fill(text, stream)
    return saved.from_json(text.item(), _is_pruned(archive))


def _is_pruned(archive):
    return "masks.npy" in archive.namelist()


def _masks(archive, graph):
    """Those of weights that have some."""
    sizes = [w.n_in * w.n_out for w in graph.weights]
    with _array(archive, "masks") as (stream, shape, dtype):
        if shape != (-(-sum(sizes) // 8),) or dtype != np.uint8:
            raise ValueError(f"masks of {dtype} in shape {shape} do not fit the settings")
        bits = np.zeros(shape, np.uint8)
        _fill(bits, stream)
    parts = np.split(np.unpackbits(bits, count=sum(sizes)), np.cumsum(sizes)[:-1])
    return [
        None if part.all() else part.reshape(w.n_in, w.n_out) for part, w in zip(parts, graph.weights, strict=True)
    ]


@contextmanager
def _array(archive, name):
    """Stream, shape and dtype of an array in the archive, all of whose elements the file is long enough for."""
    info = archive.getinfo(f"{name}.npy")
    length = archive.fp.seek(0, os.SEEK_END)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:  # `save` compresses nothing
        raise ValueError(f"{name} must not be compressed")
    with archive.open(info) as stream:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError(f"{name} have an unknown format")
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream, max_header_size=1000)
        size = math.prod(shape) * dtype.itemsize
        if size != info.file_size - stream.tell() or info.file_size > length:
            raise ValueError(f"{name} have another length than they say")
        yield stream, shape, dtype


def _fill(array, stream):
    """Read all elements of an array, a part at a time."""
    rest = memoryview(array.reshape(-1).view(np.uint8))
    while rest:
        part = stream.read(min(len(rest), 1 << 20))
        if not part:
            raise ValueError("the file is too short")
        rest[: len(part)] = part
        rest = rest[len(part) :]


@contextmanager
def replacing(path):
    """A binary stream that becomes the file of this name when all is written, and on the disk.

    Until then, and for good if anything fails, the file that has the name stays as it is: also if the process is
    killed, or others read it meanwhile.
    """
    path = os.path.realpath(path)  # a link stays, and what it leads to is replaced
    status = os.stat(path) if os.path.exists(path) else None
    if status is not None and not stat.S_ISREG(status.st_mode):  # a device or a pipe is written to, not replaced
        with open(path, "wb") as stream:
            yield stream
        return
    if status is not None:
        open(path, "r+b").close()  # an error if it must not be written to
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "No such folder", folder)
    temporary = os.path.join(folder, f".{secrets.token_hex(16)}.tmp")
    try:
        with open(temporary, "xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if status is not None:
            with suppress(OSError, AttributeError):  # not every user, nor every system, can do this
                os.chown(temporary, status.st_uid, status.st_gid)
            os.chmod(temporary, stat.S_IMODE(status.st_mode))
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    with suppress(OSError):  # nor can every system do this with a folder
        folder = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
