"""fastbp: the fastest way to train and run a multilayer perceptron on a CPU."""

import os
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

try:
    from fastbp._core import choose_isa, isas
except ModuleNotFoundError as error:
    if error.name != "fastbp._core":
        raise
    raise ImportError(
        "fastbp's compiled core is missing. This is probably the source folder, which hides the installed package: "
        "change to another folder, or install in place with pip install -e ."
    ) from error

__version__ = version("fastbp")
ISA = choose_isa(os.environ.get("FASTBP_ISA"))

from .augmentation import ImageAugmentation  # noqa: E402
from .averaging import EMA, SWA  # noqa: E402
from .estimators import MLPClassifier, MLPRegressor  # noqa: E402
from .full_batch import BFGS, LBFGS, FullBatch, Newton, NewtonCG, Quickprop, Rprop  # noqa: E402
from .initializers import Orthogonal, VarianceScaling  # noqa: E402
from .layers import (  # noqa: E402
    ELU,
    RBF,
    Activation,
    BatchNorm,
    Checkpoint,
    Dense,
    Dropout,
    Embed,
    GroupNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    LowRank,
    Parallel,
    Periodic,
    PiecewiseLinear,
    PReLU,
    Residual,
    Scale,
    Shared,
    Sparse,
    SpectralNorm,
    Standardize,
    Transposed,
    WeightNorm,
)
from .losses import HistogramLoss, Huber, Lp, Quantile, SoftmaxCrossEntropy  # noqa: E402
from .network import (  # noqa: E402
    Activations,
    History,
    LayerParameters,
    LayerSummary,
    Network,
    Plan,
    Summary,
)
from .optimizers import SAM, SGD, Adagrad, Adam, AdamW, RMSProp, UpdateRule  # noqa: E402
from .preprocessing import Whitening  # noqa: E402
from .pruning import Prune  # noqa: E402
from .schedules import (  # noqa: E402
    CosineWarmRestarts,
    Cyclical,
    Exponential,
    InverseScaling,
    OneCycle,
    ReduceOnPlateau,
    Schedule,
    StepDecay,
    WarmUp,
)

__all__ = [
    "BFGS", "ELU", "EMA", "LBFGS", "RBF", "SAM", "SGD", "SWA", "Activation", "Activations", "Adagrad", "Adam", "AdamW",
    "BatchNorm", "Checkpoint", "CosineWarmRestarts", "Cyclical", "Dense", "Dropout", "Embed", "Exponential",
    "FullBatch", "GroupNorm", "HistogramLoss", "History", "Huber", "ImageAugmentation", "InverseScaling", "Layer",
    "LayerNorm", "LayerParameters", "LayerSummary", "LeakyReLU", "LowRank", "Lp", "MLPClassifier", "MLPRegressor",
    "Network", "Newton", "NewtonCG", "OneCycle", "Orthogonal", "PReLU", "Parallel", "Periodic", "PiecewiseLinear",
    "Plan", "Prune", "Quantile", "Quickprop", "RMSProp", "ReduceOnPlateau", "Residual", "Rprop", "Scale", "Schedule",
    "Shared", "SoftmaxCrossEntropy", "Sparse", "SpectralNorm", "Standardize", "StepDecay", "Summary", "Transposed",
    "UpdateRule", "VarianceScaling", "WarmUp", "WeightNorm", "Whitening", "show_config",
]  # fmt: skip

if TYPE_CHECKING:
    from . import display as display
    from . import interop as interop
    from . import onnx as onnx
else:  # a `__getattr__` that type checkers see would hide misspelt names from them

    def __getattr__(name):
        """Modules that few need, and that may need packages which are not here, are imported when asked for."""
        if name in ("display", "interop", "onnx"):
            return import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def show_config() -> None:
    """Print version, instruction sets built and chosen, BLAS libraries and threads.

    For reports of bugs and of measurements.

    See Also
    --------
    Network.program : What a call will run on.

    Examples
    --------
    >>> import fastbp
    >>> fastbp.show_config()  # doctest: +ELLIPSIS
    fastbp ...
    """
    from threadpoolctl import threadpool_info

    from .threads import default_n_threads

    built, usable = isas()
    print(f"fastbp {__version__}")
    print(f"instruction sets: built {', '.join(built)}; this processor has {', '.join(usable)}; chosen {ISA}")
    for library in threadpool_info():
        if library["user_api"] == "blas":
            print(f"BLAS: {library['internal_api']} {library['version']} ({library['filepath']})")
    print(f"threads: {default_n_threads()} of {os.cpu_count()} processors")
