"""The compiled extension: what it contains, and which instruction set is chosen."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastbp
from fastbp import _core


def test_source_folder_without_the_core_says_so(tmp_path):
    shutil.copytree(Path(fastbp.__file__).parent, tmp_path / "fastbp", ignore=shutil.ignore_patterns("_core*"))
    run = subprocess.run(  # -S: without any installed package
        [sys.executable, "-S", "-c", "import fastbp"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "fastbp's compiled core is missing" in run.stderr


def test_unknown_isa_is_an_error():
    run = subprocess.run(
        [sys.executable, "-c", "import fastbp"], env={**os.environ, "FASTBP_ISA": "mmx"}, cwd="/",
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode != 0
    assert "FASTBP_ISA must be one of" in run.stderr
    assert "'mmx'" in run.stderr


@pytest.mark.skipif("FASTBP_ISA" not in os.environ, reason="FASTBP_ISA does not ask for an instruction set")
def test_isa_of_this_run():
    assert os.environ["FASTBP_ISA"] == fastbp.ISA


def test_environment():
    """What chooses the instruction set and the default number of threads."""
    code = "import fastbp; print(fastbp.ISA, fastbp.threads.default_n_threads())"
    for isa in _core.isas()[1]:
        run = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "FASTBP_ISA": isa, "OMP_NUM_THREADS": "1"}, cwd="/",
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert run.stdout.split() == [isa, "1"]


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("objdump"), reason="reads the extension with objdump")
def test_what_the_extension_contains():
    """FMA contraction is on in AVX2 code, and the C libraries are the only ones linked."""
    header = subprocess.run(["objdump", "-p", _core.__file__], capture_output=True, text=True, check=True).stdout
    needed = set(re.findall(r"NEEDED\s+(\S+)", header))
    glibc = {"libc.so.6", "libm.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
    musl = {"libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"}
    assert needed & {"libm.so.6", *musl}
    assert needed <= glibc | musl
    if "avx2" in _core.isas()[0]:
        code = subprocess.run(["objdump", "-d", _core.__file__], capture_output=True, text=True, check=True).stdout
        assert len(re.findall(r"vfmadd.*%ymm", code)) > 100


def test_show_config(capsys):
    fastbp.show_config()
    out = capsys.readouterr().out
    for word in (fastbp.__version__, "baseline", fastbp.ISA, "BLAS", "threads"):
        assert word in out
