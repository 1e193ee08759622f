"""What is measured: the grid of networks, their data and the arithmetic they need.

Training is softmax cross-entropy with ReLU units, shuffled every epoch, without penalty. The
number of samples, a multiple of the batch size, makes an epoch last some ten milliseconds or more
for the fastest library: what an epoch costs beside its steps has a share like that of real data.
Every library starts from the parameters that scikit-learn draws from ``random_state=0``.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

STEP_TASKS = ("partial_fit", "by_hand")


@dataclass(frozen=True)
class Case:
    """A network, the way it is trained and the data it sees.

    `task` names the method of the contenders that is timed: "train_epoch", "partial_fit" (one step
    on all rows), "by_hand" (the same for a cost of one's own), "predict" (probabilities) or
    "classify" (labels, estimators only). `density` is the share of nonzeros of CSR input, None for
    dense input, of which the share `zeros` is zeros. With `categories`, the numbers of categories of
    the columns of X, each has a table, and the first of the sizes is that of their rows side by side.
    """

    task: str
    sizes: tuple[int, ...]
    n_samples: int
    batch_size: int = 200
    optimizer: str = "sgd"
    learning_rate: float = 0.01
    dtype: str = "float32"
    density: float | None = None
    zeros: float = 0.0
    categories: tuple[int, ...] = ()

    @property
    def dim(self):
        """Columns of a table."""
        return self.sizes[0] // len(self.categories)

    def __str__(self):
        sizes = self.sizes
        if len(sizes) > 5:
            text = f"{sizes[0]}-{len(sizes) - 2}×{sizes[1]}-{sizes[-1]}"
        else:
            text = "-".join(map(str, sizes))
        if self.categories:
            text = f"{len(self.categories)} tables of {self.dim}, {text.partition('-')[2]}"
        if self.task == "train_epoch":
            text += f", {self.batch_size}"
        if self.task in STEP_TASKS:
            text += f", {self.task} of {self.n_samples}"
        if self.task == "classify":
            text += ", labels"
        if self.optimizer != "sgd":
            text += f", {self.optimizer}"
        if self.density:
            text += f", {self.density:.1%} CSR"
        if self.zeros:
            text += f", {self.zeros:.0%} zeros"
        return text

    @property
    def flops(self):
        """Floating point operations per sample in the products of the layers, zeros or not.

        Two per weight and product; training has three products a layer (forward, weight gradient,
        input gradient), of which the first layer does not need the last, unless tables come before it.
        """
        weights = [n_in * n_out for n_in, n_out in pairwise(self.sizes)]
        if self.task in ("predict", "classify"):
            return 2 * sum(weights)
        return 6 * sum(weights) - (0 if self.categories else 2 * weights[0])


def training(sizes, batch_size, n_samples, **settings):
    return Case("train_epoch", sizes, n_samples, batch_size, **settings)


TABLES = 3, 5, 8, 12, 20, 40, 70, 150, 400, 1000
TRAINING = [
    training((8, 32, 32, 2), 32, 64_000),
    training((784, 30, 10), 10, 24_000),
    training((784, 100, 10), 32, 19_200),
    training((784, 100, 10), 200, 30_000),
    training((54, 256, 256, 7), 256, 25_600),
    training((784, 512, 512, 10), 128, 5_120),
    training((64, *[64] * 8, 10), 64, 25_600),
    training((1024, 2048, 2048, 10), 256, 4_096),
    training((784, 128, 10), 128, 12_800, optimizer="adam", learning_rate=0.001),
    training((784, 128, 10), 128, 12_800, optimizer="adam", learning_rate=0.001, zeros=0.8),
    training((50_000, 100, 10), 200, 20_000, optimizer="adam", learning_rate=0.001, density=0.002),
    training((160, 64, 64, 2), 256, 51_200, optimizer="adam", learning_rate=0.001, categories=2 * TABLES),
]

STEPS = [
    Case(task, sizes, n, n, "adam", 0.001)
    for sizes in ((4, 64, 64, 2), (64, 256, 256, 8))
    for task, n in (("partial_fit", 1), ("partial_fit", 32), ("partial_fit", 256), ("by_hand", 32))
]

NETWORKS = [(4, 64, 64, 2), (784, 100, 10), (54, 256, 256, 7), (784, 512, 512, 10)]
PREDICTION = [
    *[Case("predict", sizes, 1) for sizes in NETWORKS],
    *[Case("classify", sizes, 1) for sizes in NETWORKS],
    *[Case("predict", sizes, 20_000) for sizes in NETWORKS],
]


def data(case, seed=0):
    """Inputs (n_samples, n_inputs) and the class that a random linear map gives each, int64."""
    rng = np.random.default_rng(seed)
    n, n_inputs, n_classes = case.n_samples, case.sizes[0], case.sizes[-1]
    if case.categories:
        X = aligned((n, len(case.categories)), case.dtype)
        X[:] = rng.integers(0, case.categories, size=X.shape)
        teacher = rng.standard_normal((sum(case.categories), n_classes), dtype=np.float32)
        return X, teacher[X.astype(int) + offsets(case)].sum(axis=1).argmax(axis=1)
    teacher = rng.standard_normal((n_inputs, n_classes), dtype=np.float32)
    if case.density is None:
        X = aligned((n, n_inputs), case.dtype)
        X[:] = rng.standard_normal((n, n_inputs), dtype=np.float32)
        X[rng.random(X.shape) < case.zeros] = 0
    else:
        from scipy.sparse import csr_array

        per_row = round(case.density * n_inputs)
        columns = rng.integers(n_inputs, size=n * per_row, dtype=np.int32)
        values = rng.random(n * per_row, dtype=np.float32)
        starts = np.arange(0, n * per_row + 1, per_row, dtype=np.int32)
        X = csr_array((values, columns, starts), shape=(n, n_inputs))
        X.sum_duplicates()
        X = X.astype(case.dtype)
    return X, np.argmax(X @ teacher, axis=1)


def offsets(case):
    """Where the rows of each table begin, where all of them are one."""
    return np.cumsum((0, *case.categories[:-1]))


def aligned(shape, dtype):
    """An empty array that starts on a cache line, as JAX needs in order not to copy its input."""
    size = np.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + 64, dtype=np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)


def initial_parameters(case):
    """Weights (fan_in, fan_out) and biases (fan_out,), uniform after Glorot and Bengio (2010)."""
    rng = np.random.RandomState(0)
    weights, biases = [], []
    for fan_in, fan_out in pairwise(case.sizes):
        bound = (6 / (fan_in + fan_out)) ** 0.5
        weights.append(rng.uniform(-bound, bound, (fan_in, fan_out)).astype(case.dtype))
        biases.append(rng.uniform(-bound, bound, fan_out).astype(case.dtype))
    return weights, biases


def initial_tables(case):
    """The rows of all tables, from N(0, 1 / dim)."""
    rows = np.random.RandomState(1).normal(0, case.dim**-0.5, (sum(case.categories), case.dim))
    return rows.astype(case.dtype)


def cross_entropy(probabilities, y):
    """Mean of ``-ln p_y`` for probabilities (n, n_classes) and classes y (n,)."""
    picked = np.asarray(probabilities, dtype=np.float64)[np.arange(len(y)), y]
    return -np.log(np.maximum(picked, np.finfo(np.float64).tiny)).mean()


def shortened(case, n_batches):
    """The same case with so many batches an epoch at most."""
    return replace(case, n_samples=min(case.n_samples, n_batches * case.batch_size))
