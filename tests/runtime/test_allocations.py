"""Each allocation of a call fails in turn: a MemoryError, and the model is as it was."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from runtime_cases import glibc, shared_library

HERE = Path(__file__).parent


@glibc
@pytest.mark.parametrize("group", ["training", "the rest of a network", "estimators"])
def test_each_allocation_fails_in_turn(tmp_path, group):
    """Nothing changes then, all that was taken is given back, and the next call gives what it would have given."""
    library = shared_library(tmp_path, (HERE / "allocations.c").read_text())
    run = subprocess.run(
        [sys.executable, "-P", HERE / "allocations.py", library, group], env={**os.environ, "LD_PRELOAD": str(library)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr[-2000:]
    counts = [int(line.split(": ")[1]) for line in run.stdout.splitlines()]
    assert len(counts) > 5 and min(counts) >= 1
