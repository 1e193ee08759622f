"""The ops of programs: one list in C and in Python.

In C each table has its rows by the ops' numbers, whatever their order in ops.def is.
"""

import re
from pathlib import Path

import pytest

from fastbp import _core
from fastbp.graph import gradient

DEFINITIONS = Path(__file__).parents[2] / "src_c" / "ops.def"


def test_every_op_of_a_graph_is_there():
    assert list(_core.OPS.values()) == list(range(len(_core.OPS)))
    assert set(gradient.RULES) | set(gradient.RULES.values()) <= set(_core.OPS)


@pytest.mark.skipif(not DEFINITIONS.exists(), reason="needs the source folder")
def test_rows_of_the_table():
    """A number, its function and its name in Python are alike; the built extension has these rows."""
    rows = [row.split(", ") for row in re.findall(r"^OP\((.*)\)$", DEFINITIONS.read_text(), re.MULTILINE)]
    assert [name for _, name, *_ in rows] == list(_core.OPS)
    assert [number.lower() for number, *_ in rows] == list(_core.OPS)
