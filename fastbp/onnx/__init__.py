"""To ONNX and back. With skl2onnx installed, importing this registers converters for the estimators and `Whitening`."""

from importlib.util import find_spec

try:
    import onnx  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError("ONNX needs packages that are not here: pip install 'fastbp[onnx]'") from error

from .export import to_onnx
from .importing import from_onnx

if find_spec("skl2onnx"):
    from . import sklearn  # noqa: F401

__all__ = ["from_onnx", "to_onnx"]
