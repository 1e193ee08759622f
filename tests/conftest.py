import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

# The modules beside this file are for the tests in all folders; pytest shows the values in their assertions too.
sys.path.insert(0, str(Path(__file__).parent))
pytest.register_assert_rewrite(
    "kernel_table", "kernel_cases", "graph_cases", "network_cases", "estimator_cases", "runtime_cases"
)  # fmt: skip

import fastbp  # noqa: E402
from fastbp import threads  # noqa: E402

# Workers share the processors: threads of BLAS, which scipy's L-BFGS wakes for the smallest triangular systems, would
# spin for want of each other most of the time.
threadpool_limits(1, user_api="blas")

# A script's jobs in the background ignore what Ctrl-C sends, and so would the tests of it, for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header():
    return f"fastbp {fastbp.__version__} from {Path(fastbp.__file__).parent}, instruction set {fastbp.ISA}"


def pytest_collection_modifyitems(items):
    """Runs of test_every_isa.py, which take longest, come first: other workers (``pytest -n``) go on with the rest."""
    items.sort(key=lambda item: "test_every_isa" not in item.nodeid)


@pytest.fixture(autouse=True)
def teams_as_asked_for(monkeypatch):
    """As many members as a test asks for, however few processors the machine has."""
    monkeypatch.setattr(threads, "n_processors", lambda: 256)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def mnist():
    """Real MNIST: X_train (60000, 784) uint8, y_train, X_test (10000, 784), y_test."""
    file = Path(__file__).parents[2] / "shared" / "data" / "mnist.npz"
    if not file.exists():
        pytest.skip("MNIST is not here (../shared/data/mnist.npz beside the repository)")
    with np.load(file) as d:
        return d["X_train"].reshape(-1, 784), d["y_train"], d["X_test"].reshape(-1, 784), d["y_test"]
