"""Kernels, networks and teams again for each other instruction set of this processor.

What is built on networks sees no difference, nor do the tests marked ``once``.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastbp
from fastbp import _core

ROOT = Path(__file__).parents[1]
TESTS = [ROOT / "src_c", ROOT / "network", ROOT / "runtime" / "test_teams.py"]


@pytest.mark.skipif("FASTBP_ISA" in os.environ, reason="FASTBP_ISA names the only one asked for")
@pytest.mark.parametrize("isa", [isa for isa in _core.isas()[1] if isa != fastbp.ISA])
def test_suite(isa):
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not once", *map(str, TESTS)]
    run = subprocess.run(command, env={**os.environ, "FASTBP_ISA": isa}, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-5000:]
