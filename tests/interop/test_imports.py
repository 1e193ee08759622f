"""Nothing of other libraries is imported before it is needed."""

import subprocess
import sys

import pytest

import fastbp

pytestmark = pytest.mark.once

OTHERS = {"onnx", "onnxruntime", "skl2onnx", "safetensors", "skops", "torch"}


@pytest.mark.parametrize("module, needed", [("fastbp", set()), ("fastbp.interop", set()), ("fastbp.onnx", {"onnx"})])
def test_what_is_imported(module, needed):
    if needed:
        pytest.importorskip(module.rpartition(".")[2])
    code = f"import sys, {module}; print(*{OTHERS} & sys.modules.keys())"
    found = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert needed <= set(found.stdout.split()) <= needed | ({"skl2onnx"} if needed else set())


def test_modules_are_imported_when_asked_for():
    pytest.importorskip("onnx")
    code = "import sys, fastbp\n"
    for module in ("display", "interop", "onnx"):
        code += f"print('fastbp.{module}' in sys.modules, fastbp.{module}.__name__)\n"
    found = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "fastbp.display", "False", "fastbp.interop", "False", "fastbp.onnx"]


@pytest.mark.parametrize(
    "statement", ["fastbp.onnx.to_onnx", "from fastbp import onnx", "from fastbp.onnx import to_onnx"]
)
def test_without_onnx(statement):
    """The error names the extra; what looks at all that fastbp has does not meet it."""
    code = f"import sys; sys.modules['onnx'] = None; import inspect, fastbp; inspect.getmembers(fastbp); {statement}"
    found = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert found.stderr.endswith("ImportError: ONNX needs packages that are not here: pip install 'fastbp[onnx]'\n")


def test_unknown_names():
    with pytest.raises(AttributeError, match="module 'fastbp' has no attribute 'onxx'"):
        fastbp.onxx  # noqa: B018
