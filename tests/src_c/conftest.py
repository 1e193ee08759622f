"""Which kernels are tested: those of the chosen instruction set, for both dtypes."""

import os

import kernel_table as kt
import numpy as np
import pytest

import fastbp


@pytest.fixture(scope="session")
def wide(tmp_path_factory):
    # workers (``pytest -n``) have folders in one of the whole run
    many = "PYTEST_XDIST_WORKER" in os.environ
    return kt.build_wide(tmp_path_factory.getbasetemp().parent if many else tmp_path_factory.mktemp("wide"))


# where AVX-512 cannot be had itself, its width is tested beside AVX2
@pytest.fixture(params=[fastbp.ISA, "wide"] if fastbp.ISA == "avx2" == fastbp._core.isas()[1][-1] else [fastbp.ISA])
def isa(request):
    return request.param


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return np.dtype(request.param)


@pytest.fixture
def k(isa, dtype, request):
    if isa == "wide":
        wide = request.getfixturevalue("wide")
        if wide is None:
            pytest.skip("64-byte vectors need a compiler and the source folder to be built for the test")
        return wide[kt.DTYPES[dtype]]
    return kt.table(isa, dtype)
