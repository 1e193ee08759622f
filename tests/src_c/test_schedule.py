"""The core in C, whose members may do their work in any order."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


@pytest.mark.once
@pytest.mark.skipif(not COMPILER or not (ROOT / "src_c").exists(), reason="needs a compiler and the source folder")
def test_any_order_gives_the_same_bits(tmp_path):
    """c/run.c, with shares of work drawn at random, by members that run one at a time between barriers."""
    sources = [*(path for path in (ROOT / "src_c").glob("*.c") if path.name != "team.c"), "turns.c", "run.c"]
    flags = "-std=gnu11 -O1 -ffp-contract=fast -fno-math-errno -fno-trapping-math -DFASTBP_RANDOM_SCHEDULE"
    subprocess.run(
        [COMPILER, *flags.split(), "-DISA=baseline", "-DVEC_BYTES=16", "-I", ROOT / "src_c", *sources, "-lm", "-pthread",
         "-o", tmp_path / "run"],
        cwd=ROOT / "tests" / "src_c" / "c", check=True,
    )  # fmt: skip
    run = subprocess.run([tmp_path / "run", "10"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
