"""What tests of kernels share: sizes, arrays with guards, tolerances."""

from ctypes import byref

import kernel_table as kt
import numpy as np
from kernel_table import pointer

SIZES = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 65]
SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 80.0, -80.0, 1e30, -1e30]


def tolerance(dtype, n=1):
    return {"rtol": 8 * np.finfo(dtype).eps * max(n, 1) ** 0.5, "atol": 4 * np.finfo(dtype).eps * max(n, 1)}


def guarded(shape, dtype):
    """An array with sentinels behind it, and a function that checks them."""
    size = int(np.prod(shape))
    memory = np.full(size + 64, 12345.0, dtype)

    def check():
        assert (memory[size:] == 12345.0).all(), "written beyond the end"

    return memory[:size].reshape(shape), check


def nonzeros_of(k, dtype, a):
    x = kt.Nonzeros(len(a), a.size, dtype)
    k.find_nonzeros(len(a), a.shape[1], pointer(kt.rows(a)), 0, byref(x))
    return x


def softmax(k, a, ld=None, copy=None):
    k.activate[kt.ACTIVATIONS.index("softmax")](*a.shape, pointer(a), ld or a.shape[1], 0.0, pointer(copy))
