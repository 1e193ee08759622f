"""The whole suite once more for each other instruction set of this processor."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastbp
from fastbp import _core


@pytest.mark.skipif("FASTBP_ISA" in os.environ, reason="FASTBP_ISA names the only one asked for")
@pytest.mark.parametrize("isa", [isa for isa in _core.isas()[1] if isa != fastbp.ISA])
def test_suite(isa):
    run = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(Path(__file__).parent)],
        env={**os.environ, "FASTBP_ISA": isa}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
