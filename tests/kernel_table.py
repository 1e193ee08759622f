"""The kernel tables of the built extension, seen through ctypes.

What is in them the extension tells itself; the structs that kernels take are here once more."""

import ctypes
import fcntl
import re
import shutil
import subprocess
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_char_p,
    c_double,
    c_int,
    c_int32,
    c_size_t,
    c_ssize_t,
    c_uint32,
    c_void_p,
)
from pathlib import Path

import numpy as np

from fastbp import _core
from fastbp.graph import connections_of
from fastbp.losses import kernel_of

_library = ctypes.CDLL(_core.__file__)


def _names(array):
    """The strings of an array in C that NULL ends."""
    pointers = (c_char_p * 1000).in_dll(_library, array)
    return [name.decode() for name in iter(iter(pointers).__next__, None)]


def _numbers(array, n):
    return list((c_size_t * n).in_dll(_library, array))


ACTIVATIONS = [name.lower() for name in _names("fastbp_units")]
LOSSES = [None, *(name.lower() for name in _names("fastbp_losses")[1:])]
_rules = [name.lower() for name in _names("fastbp_rules")]
RULES = dict(zip(_rules, _numbers("fastbp_rule_states", len(_rules)), strict=True))  # name: arrays of state
DTYPES = {np.dtype("float32"): 0, np.dtype("float64"): 1, np.dtype("uint8"): 2, np.dtype("bool"): 2}


class Cost(Structure):
    _fields_ = [
        ("kind", c_int), ("parameter", c_double), ("fixed_logit", c_int), ("levels", c_void_p), ("n_levels", c_ssize_t)
    ]  # fmt: skip

    @classmethod
    def of(cls, loss):
        name, parameter, levels, fixed_logit = kernel_of(loss)
        cost = cls(LOSSES.index(name), parameter, fixed_logit, levels.ctypes.data, len(levels))
        cost.array = levels  # must live as long
        return cost


class Update(Structure):
    _fields_ = [("rule", c_int)] + [
        (name, c_double)
        for name in (
            "learning_rate", "momentum", "beta_1", "beta_2", "epsilon", "l1", "l2", "scale", "clip", "decay",
            "proximal", "average",
        )
    ]  # fmt: skip

    def __init__(self, rule, **settings):
        super().__init__(list(RULES).index(rule), **{"scale": 1, "clip": np.inf, **settings})


class StepSettings(Structure):
    _fields_ = [("learning_rate", c_double), ("epsilon", c_double), ("decay", c_double)]


class Counter(Structure):
    _fields_ = [("seed", c_uint32 * 2), ("step", c_uint32), ("row", c_uint32), ("stream", c_uint32)]


class Augmentation(Structure):
    _fields_ = [("height", c_ssize_t), ("width", c_ssize_t)] + [
        (name, c_double) for name in ("shift", "rotation", "scale", "shear", "elastic_alpha", "elastic_sigma")
    ]


class Rows(Structure):
    _fields_ = [("rows", c_void_p), ("offset", c_ssize_t), ("reading", c_int)]


class Stripes(Structure):
    _fields_ = [("at", c_void_p), ("ld", c_ssize_t), ("stripe", c_ssize_t), ("far", c_int)]


class Strided(Structure):
    _fields_ = [("data", c_void_p), ("row_stride", c_ssize_t), ("column_stride", c_ssize_t), ("dtype", c_int)]

    @classmethod
    def of(cls, a):
        return cls(a.ctypes.data, *a.strides, DTYPES[a.dtype])


class Csr(Structure):
    _fields_ = [
        ("data", c_void_p), ("indices", c_void_p), ("indptr", c_void_p), ("n_columns", c_ssize_t),
        ("dtype", c_int), ("wide_indices", c_int),
    ]  # fmt: skip

    @classmethod
    def of(cls, a):
        return cls(
            a.data.ctypes.data, a.indices.ctypes.data, a.indptr.ctypes.data, a.shape[1], DTYPES[a.data.dtype],
            a.indices.itemsize == 8,
        )  # fmt: skip


class Nonzeros(Structure):
    """Room for so many rows, and nonzeros in all; it holds -1 and NaN until it is filled."""

    _fields_ = [("begin", c_void_p), ("end", c_void_p), ("columns", c_void_p), ("values", c_void_p)]

    def __init__(self, rows, size, dtype):
        self.bounds = np.full((2, rows), -1, dtype=np.intp)
        self.column, self.value = np.full(size, -1, dtype=np.int32), np.full(size, np.nan, dtype=dtype)
        super().__init__(
            self.bounds[0].ctypes.data, self.bounds[1].ctypes.data, self.column.ctypes.data, self.value.ctypes.data
        )

    def dense(self, n):
        """What the lists stand for, with n columns."""
        out = np.zeros((self.bounds.shape[1], n), self.value.dtype)
        for row, begin, end in zip(out, *self.bounds, strict=True):
            assert (np.diff(self.column[begin:end]) > 0).all()
            row[self.column[begin:end]] = self.value[begin:end]
        return out


AVERAGE, MAX_STATES = 3, 4
_STATES = c_void_p * MAX_STATES


class ChainLayer(Structure):
    _fields_ = [
        *((name, c_ssize_t) for name in ("n_in", "n_out", "vectors", "half", "panel", "n_panels")),
        ("unit", c_int), ("parameter", c_double), ("l1", c_double), ("l2", c_double),
        ("w", c_void_p), ("states", _STATES), ("b", c_void_p), ("bias_states", _STATES),
        ("column", c_void_p), ("column_states", _STATES), ("a", c_void_p), ("d", c_void_p), ("slope", c_void_p),
        ("ld", c_ssize_t), ("a_rows", c_void_p), ("penalties", c_void_p),
    ]  # fmt: skip


class Chain(Structure):
    _fields_ = [
        ("layers", c_void_p), ("n", c_int), ("cost", Cost), ("weight", c_double), ("x", Strided), ("y", Strided),
        ("x_in_place", c_int), ("y_in_place", c_int), ("has_y", c_int), ("labels", c_void_p),
        ("sample_weights", c_void_p), ("order", c_void_p), ("n_rows", c_ssize_t), ("batch", c_ssize_t),
        ("penalty_over_weight", c_int), ("n_penalties", c_ssize_t), ("penalties", c_void_p), ("record", c_void_p),
        ("inputs", c_void_p), ("targets", c_void_p), ("ld_inputs", c_ssize_t),
    ]  # fmt: skip


_SCALARS = {"void": None, "int": c_int, "double": c_double, "ptrdiff_t": c_ssize_t}
class Reader(Structure):
    _fields_ = [("input", c_int32), ("unit", c_int32), ("number", c_int32)]


class Connections(Structure):
    """Of units whose inputs are the columns (fan_in, n_out)."""

    _fields_ = [("fan_in", c_ssize_t), ("n_out", c_ssize_t), ("inputs", c_void_p), ("readers", c_void_p)]

    def __init__(self, columns):
        self.arrays = connections_of(columns)
        super().__init__(*columns.shape, *(a.ctypes.data for a in self.arrays))


_STRUCTS = {
    c.__name__: c
    for c in (
        Cost, Update, StepSettings, Counter, Augmentation, Rows, Stripes, Strided, Csr, Nonzeros, Reader, Connections,
        ChainLayer, Chain,
    )
}  # fmt: skip


def _member(signature):
    """Name and type of a kernel, of its row in src_c/kernels.def."""
    type_, name, by_unit, arguments = re.fullmatch(r"(\w+) (\w+)(\[\])?\((.*)\)", signature).groups()
    types = []
    for argument in arguments.split(", "):
        of, is_pointer = re.fullmatch(r"(?:const )?(\w+) (.*?)\w+", argument).groups()
        to_struct = of in _STRUCTS and is_pointer == "*"
        types.append((POINTER(_STRUCTS[of]) if to_struct else c_void_p) if is_pointer else _SCALARS[of])
    function = CFUNCTYPE(_SCALARS[type_], *types)
    return name, function * len(ACTIVATIONS) if by_unit else function


class Kernels(Structure):
    _fields_ = [
        ("isa", c_char_p), ("itemsize", c_size_t), ("lanes", c_ssize_t), ("depth", c_ssize_t), ("far", c_ssize_t),
        *map(_member, _names("fastbp_signatures"))
    ]  # fmt: skip


STRUCTS = {**_STRUCTS, "Kernels": Kernels}
_structs = _names("fastbp_structs")
SIZES = dict(zip(_structs, _numbers("fastbp_struct_sizes", len(_structs)), strict=True))  # as C has them


class _Address(int):
    """Of an array, which lives as long."""


def pointer(a):
    if a is None:
        return None
    address = _Address(a.ctypes.data)
    address.array = a
    return address


def states(arrays, average=None):
    """Pointers to a rule's arrays of state, and to the parameters' average."""
    pointers = np.zeros(MAX_STATES, np.uintp)
    pointers[: len(arrays)] = [pointer(a) for a in arrays]
    pointers[AVERAGE] = pointer(average) or 0
    return pointers


def rows(a):
    """Pointers to the rows of a matrix."""
    return np.array([a.ctypes.data + i * a.strides[0] for i in range(len(a))], np.uintp)


def packed(a, lanes):
    """A matrix in stripes, as a three-dimensional array (stripes, rows, lanes)."""
    m, n = a.shape
    stripes = np.zeros((-(-n // lanes), m, lanes), a.dtype)
    for j in range(n):
        stripes[j // lanes, :, j % lanes] = a[:, j]
    return stripes


_library.fastbp_kernels.restype = POINTER(Kernels)
_library.fastbp_kernels.argtypes = [c_char_p]


def table(isa, dtype):
    """The kernels of an instruction set for a dtype; None if this processor cannot run them."""
    found = _library.fastbp_kernels(isa.encode())
    return found[DTYPES[np.dtype(dtype)]] if found else None


def build_wide(folder):
    """Tables of 64-byte vectors compiled for AVX2, so that the sources of AVX-512 run on processors without it; those
    that another process makes or has made in this folder, if one does.

    None where there is no compiler, no source folder, or no AVX2.
    """
    source = Path(__file__).parent.parent / "src_c" / "kernels.c"
    compiler = shutil.which("gcc") or shutil.which("clang")
    if not source.exists() or compiler is None or "avx2" not in _core.isas()[1]:
        return None
    library, made = Path(folder) / "wide.so", Path(folder) / "made.so"
    flags = "-std=gnu11 -Og -ffp-contract=fast -fno-math-errno -mavx2 -mfma -shared -fPIC -DISA=wide -DVEC_BYTES=64"
    with open(Path(folder) / "wide.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not library.exists():
            subprocess.run([compiler, *flags.split(), "-Wno-psabi", str(source), "-o", str(made), "-lm"], check=True)
            made.rename(library)
    return (Kernels * 2).in_dll(ctypes.CDLL(str(library)), "fastbp_kernels_wide")
