"""Nothing of other libraries is imported before it is needed."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.once

OTHERS = {"onnx", "onnxruntime", "skl2onnx", "safetensors", "skops", "torch"}


@pytest.mark.parametrize("module, needed", [("fastbp", set()), ("fastbp.interop", set()), ("fastbp.onnx", {"onnx"})])
def test_what_is_imported(module, needed):
    if needed:
        pytest.importorskip(module.rpartition(".")[2])
    code = f"import sys, {module}; print(*{OTHERS} & sys.modules.keys())"
    found = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert needed <= set(found.stdout.split()) <= needed | ({"skl2onnx"} if needed else set())
