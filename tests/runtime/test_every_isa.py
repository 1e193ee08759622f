"""Kernels, networks and teams again for each other instruction set of this processor, beside the run they are part of.

What is built on networks sees no difference, nor do the tests marked ``once``.
"""

import atexit
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import fastbp
from fastbp import _core

ROOT = Path(__file__).parents[1]
TESTS = [ROOT / "src_c", ROOT / "network", ROOT / "runtime" / "test_teams.py"]
_runs = {}


def start(isa):
    """Begin the run; conftest.py calls this once it is known that its test is going to be waited for."""
    output = tempfile.TemporaryFile("w+")  # noqa: SIM115 (read in test_suite)
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not once"]
    command += map(str, TESTS)
    run = subprocess.Popen(command, env={**os.environ, "FASTBP_ISA": isa}, stdout=output, stderr=subprocess.STDOUT)
    atexit.register(run.kill)  # where this run ends early
    _runs[isa] = run, output


@pytest.mark.skipif("FASTBP_ISA" in os.environ, reason="FASTBP_ISA names the only one asked for")
@pytest.mark.parametrize("isa", [isa for isa in _core.isas()[1] if isa != fastbp.ISA])
def test_suite(isa):
    run, output = _runs[isa]
    code = run.wait()
    output.seek(0)
    assert code == 0, output.read()[-5000:]
