"""The structs that kernels take."""

import ctypes

import kernel_table as kt


def test_structs_have_the_sizes_that_they_have_in_c():
    assert {name: ctypes.sizeof(struct) for name, struct in kt.STRUCTS.items()} == kt.SIZES
