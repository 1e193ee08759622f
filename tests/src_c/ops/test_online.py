"""Steps of whole chains: those of the other kernels, one op after the other, with the same sums."""

from ctypes import addressof, byref, c_double

import kernel_table as kt
import numpy as np
import pytest
from kernel_cases import tolerance
from kernel_table import pointer
from numpy.testing import assert_allclose, assert_array_equal

KEPT = ("gelu", "silu", "mish", "relu2", "hard_swish", "sin", "cos")  # units with slopes of their own
PENALTIES = (0.01, 0.02)


def rounded(n, lanes):
    return -(-n // lanes) * lanes


class Layer:
    """Parameters and states of a layer, W (n_in, n_out) and b; for the kernel, W in stripes and then b."""

    def __init__(self, k, dtype, rng, n_in, n_out, unit, rule, batch, half=None, penalized=False):
        self.n_in, self.n_out, self.unit, self.half = n_in, n_out, unit, half or n_in
        self.l1, self.l2 = PENALTIES if penalized else (0.0, 0.0)
        self.W = rng.normal(0, 0.5 / n_in**0.5, size=(n_in, n_out)).astype(dtype)
        self.b = rng.normal(0, 0.5, size=n_out).astype(dtype)
        self.W_states = [np.full_like(self.W, 0.25) for _ in range(kt.RULES[rule])]
        self.b_states = [np.full_like(self.b, 0.25) for _ in range(kt.RULES[rule])]
        self.lanes, self.width = k.lanes, rounded(n_out, k.lanes)
        self.averages = self.W / 2, self.b / 2
        self.packed = [self.pack(a, b) for a, b in self.arrays()]
        self.columns = [np.full(n_in + k.lanes, np.nan, dtype) for _ in self.packed]
        self.values = [np.zeros((batch, self.width), dtype) for _ in range(3)]
        self.a_rows = kt.rows(self.values[0])
        self.panel = rounded(min(n_in, 48), k.lanes)
        self.n_panels = -(-n_in // self.panel)
        self.penalties = np.full(self.n_panels * (self.width // k.lanes), np.nan)

    def arrays(self):
        """Pairs of arrays as W and b are: these, the states, and the average."""
        return [(self.W, self.b), *zip(self.W_states, self.b_states, strict=True), self.averages]

    def pack(self, W, b):
        return np.concatenate([kt.packed(W, self.lanes).ravel(), kt.packed(b[None], self.lanes).ravel()])

    def struct(self):
        biases = [a.ctypes.data + self.n_in * self.width * a.itemsize for a in self.packed]
        w, *states = map(pointer, self.packed)
        column, *column_states = map(pointer, self.columns) if self.n_out == 1 else [None] * len(self.packed)
        states, bias_states, column_states = (
            [*of_rule, *[None] * (kt.AVERAGE - len(of_rule)), average]
            for *of_rule, average in (states, biases[1:], column_states)
        )
        a, d, slope = map(pointer, self.values)
        return kt.ChainLayer(
            self.n_in, self.n_out, self.width // self.lanes, self.half, self.panel, self.n_panels,
            kt.ACTIVATIONS.index(self.unit), 0.5, self.l1, self.l2, w, tuple(states), biases[0], tuple(bias_states),
            column, tuple(column_states), a, d, slope if self.unit in KEPT else None, self.width, pointer(self.a_rows),
            pointer(self.penalties),
        )  # fmt: skip


def matmul(k, a, b, bias=None, columns=False):
    """A B, or A^T B where `columns`, plus a bias."""
    m, depth = a.shape[::-1] if columns else a.shape
    c, b = np.empty((m, b.shape[1]), b.dtype), np.ascontiguousarray(b)
    rows = kt.rows(a)
    k.matmul(
        m, b.shape[1], depth, kt.Rows(pointer(rows), 0, int(columns)), kt.Stripes(pointer(b), b.shape[1], k.lanes),
        pointer(bias), 0, kt.Stripes(pointer(c), b.shape[1], k.lanes),
    )  # fmt: skip
    return c


def forward(k, layer, h):
    """A = f(Z), and what its derivative takes."""
    a = matmul(k, h[:, : layer.half], layer.W[: layer.half], layer.b)
    if layer.half < layer.n_in:
        a = a + matmul(k, h[:, layer.half :], layer.W[layer.half :])
    slopes = np.empty_like(a)
    unit = kt.ACTIVATIONS.index(layer.unit)
    k.activate[unit](*a.shape, pointer(a), a.shape[1], 0.5, pointer(slopes) if layer.unit in KEPT else None)
    return a, slopes if layer.unit in KEPT else a


def update(k, u, w, g, states, average, l1=0.0, l2=0.0, decay=0.0):
    """The step of some parameters; returns the penalty."""
    own, penalty = kt.Update.from_buffer_copy(u), c_double(0)
    own.l1, own.l2, own.decay = l1, l2, decay
    k.update(byref(own), w.size, pointer(w), pointer(g), pointer(kt.states(states, average)), byref(penalty))
    return penalty.value


def step(k, u, layers, cost, x, y, labels, weights, scale, penalty_scale):
    """One op after the other; returns the weighted sum of the losses, and the penalty."""
    values, slopes = [x], []
    for layer in layers:
        a, slope = forward(k, layer, values[-1])
        values.append(a)
        slopes.append(slope)
    z, d, penalty = values[-1].copy(), np.zeros_like(values[-1]), 0
    targets = pointer(y), pointer(labels), pointer(weights)
    loss = k.loss(byref(cost), *z.shape, pointer(z), z.shape[1], *targets, scale, pointer(d))
    for layer, h, slope in zip(layers[::-1], values[-2::-1], slopes[::-1], strict=True):
        k.derivative[kt.ACTIVATIONS.index(layer.unit)](*d.shape, pointer(slope), pointer(d), d.shape[1], 0.5)
        below, g = matmul(k, d, layer.W.T), matmul(k, h, d, columns=True)
        sums = np.empty_like(layer.b)
        k.column_sums(*d.shape, pointer(d), None, d.shape[1], 0, pointer(sums))
        update(k, u, layer.b, sums, layer.b_states, layer.averages[1])
        strengths = layer.l1 / penalty_scale, layer.l2 / penalty_scale
        penalty += update(k, u, layer.W, g, layer.W_states, layer.averages[0], *strengths, u.decay)
        d = below
    return loss, penalty


def check(
    k, dtype, rng, units, activations, loss="squared_error", rule="gradient_descent", batch=1, n=7, X=None,
    weighted=False, order=None, half=None, penalized=False, over_weight=False, finite=True, **settings,
):  # fmt: skip
    layers = [
        Layer(k, dtype, rng, n_in, n_out, unit, rule, batch, half if i == 0 else None, penalized)
        for i, (n_in, n_out, unit) in enumerate(zip(units[:-1], units[1:], activations, strict=True))
    ]
    X = rng.normal(size=(n, units[0])).astype(dtype) if X is None else X
    labels = rng.integers(units[-1], size=n) if loss == "softmax_cross_entropy" else None
    y = None if labels is not None else rng.random((n, units[-1])).astype(dtype)
    weights = rng.random(n) * (np.arange(n) // batch % 3 > 0) if weighted else None
    cost = kt.Cost.of(loss)
    n_batches = -(-n // batch)
    chosen = np.arange(n) if order is None else order
    parts = [chosen[i * batch : (i + 1) * batch] for i in range(n_batches)]
    record = np.full((n_batches, 3), np.nan)
    if weighted:
        record[:, 2] = [sum(weights[rows]) for rows in parts]
    settings |= {"momentum": 0.8, "beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-3}
    updates = [kt.Update(rule, learning_rate=0.02 / (i + 1), **settings) for i in range(n_batches)]
    structs = (kt.ChainLayer * len(layers))(*(layer.struct() for layer in layers))
    ld = rounded(units[0], k.lanes)
    inputs, targets = np.empty((batch, ld), dtype), np.empty((batch, units[-1]), dtype)
    penalties = np.zeros(0)
    in_place = X.dtype == dtype and X.strides[1] == X.itemsize
    chain = kt.Chain(
        addressof(structs), len(layers), cost, 0.75, kt.Strided.of(X), kt.Strided() if y is None else kt.Strided.of(y),
        in_place, y is not None, y is not None, pointer(labels), pointer(weights), pointer(order), n, batch,
        over_weight, 0, pointer(penalties), pointer(record), pointer(inputs), pointer(targets), ld,
    )  # fmt: skip
    addresses = np.array([addressof(u) for u in updates], np.uintp)
    k.train_chain(byref(chain), 0, n_batches - 1, pointer(addresses))
    k.train_chain(byref(chain), n_batches - 1, n_batches, pointer(addresses[-1:]))
    close = tolerance(dtype, 10)  # the same bits, but for what a compiler makes an FMA of
    for i, rows in enumerate(parts):
        S = sum(weights[rows]) if weighted else len(rows)
        if S == 0:
            assert_array_equal(record[i], 0)
            continue
        loss_sum, penalty = step(
            k, updates[i], layers, cost, X[rows].astype(dtype), None if y is None else y[rows],
            None if labels is None else labels[rows], None if weights is None else weights[rows], 0.75 * (1 / S),
            S if over_weight else 1,
        )  # fmt: skip
        assert_allclose(record[i, 0], 0.75 * loss_sum / S, **close)
        assert record[i, 2] == S
    for layer in layers:
        for found, (W, b) in zip(layer.packed, layer.arrays(), strict=True):
            looked_at = layer.pack(np.ones_like(W), np.ones_like(b)) > -int(finite)  # zeros beyond the columns too
            assert_allclose(found[looked_at], layer.pack(W, b)[looked_at], **close)
    if penalized and not weighted:  # of the last batch
        assert_allclose(sum(layer.penalties.sum() for layer in layers), penalty, **tolerance(dtype, 100))


@pytest.mark.parametrize("batch", range(1, 9))
def test_sizes(k, dtype, rng, batch):
    """Widths of one, about a vector, about two, and of several; sums over the depth of one block, and of many."""
    lanes = k.lanes
    for units in (
        (1, 1), (3, lanes - 1, 1), (lanes, 1, lanes + 1), (lanes + 1, lanes, 2), (5, 2 * lanes + 1, 3, lanes),
        (97, 5 * lanes - 1, 13), (300, 7, 1), (9, 300, 4), (1100, 3 * lanes, 1),
    ):  # fmt: skip
        check(k, dtype, rng, units, ["tanh"] * (len(units) - 1), batch=batch, n=2 * batch + 1)


@pytest.mark.parametrize("unit", [unit for unit in kt.ACTIVATIONS if unit != "exp"])  # which radial layers have alone
@pytest.mark.parametrize("batch", [1, 3])
def test_units(k, dtype, rng, unit, batch):
    check(k, dtype, rng, (6, k.lanes + 3, 5, 1, 4), [unit] * 4, batch=batch)


@pytest.mark.parametrize("loss", [name for name in kt.LOSSES if name not in (None, "lp", "quantile")])
@pytest.mark.parametrize("n_out", [2, 40])
@pytest.mark.parametrize("weighted", [False, True])
def test_losses(k, dtype, rng, loss, n_out, weighted):
    """Rows without weight count for nothing, and batches without make no step."""
    for batch in (1, 2):
        check(k, dtype, rng, (4, 9, n_out), ["relu", "identity"], loss, batch=batch, weighted=weighted)


@pytest.mark.parametrize("rule", kt.RULES)
@pytest.mark.parametrize(
    ("penalized", "settings"),
    [
        (False, {}), (True, {}), (False, {"clip": 0.05}), (False, {"decay": 0.03}),
        (True, {"decay": 0.03, "clip": 0.1}), (False, {"average": 0.25}), (True, {"average": 0.25}),
    ],
)  # fmt: skip
def test_rules(k, dtype, rng, rule, penalized, settings):
    for batch in (1, 4):
        units = (130, k.lanes + 1, 1)
        check(k, dtype, rng, units, ["logistic"] * 2, "squared_error", rule, batch, penalized=penalized, **settings)
    if rule != "nesterov":  # which has no such form
        check(k, dtype, rng, (5, 7, 1), ["tanh"] * 2, "squared_error", rule, penalized=True, proximal=0.1)


def test_penalties_over_the_sum_of_weights(k, dtype, rng):
    for weighted in (False, True):
        check(k, dtype, rng, (5, 7, 2), ["tanh"] * 2, batch=3, penalized=True, over_weight=True, weighted=weighted)


@pytest.mark.parametrize("batch", [1, 3])
def test_sums_in_halves(k, dtype, rng, batch):
    check(k, dtype, rng, (100, 3 * k.lanes, 4), ["tanh"] * 2, batch=batch, half=48)


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize(
    "kind", [np.asfortranarray, lambda X: X.astype(np.uint8), lambda X: X[::-1, ::-1], lambda X: X.astype(np.float64)]
)
def test_kinds_of_rows(k, dtype, rng, batch, kind):
    """Gathered where they can't be read as they lie, in the order given."""
    X = kind(rng.integers(0, 3, size=(11, 9)).astype(dtype))
    check(k, dtype, rng, (9, 6, 2), ["tanh"] * 2, batch=batch, n=11, X=X, order=rng.permutation(11))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("batch", [1, 2])
def test_what_is_not_finite(k, dtype, rng, bad, batch):
    """It spreads as it does in the other kernels."""
    X = rng.normal(size=(5, 20)).astype(dtype)
    X[3, 2] = bad
    with np.errstate(invalid="ignore"):
        check(k, dtype, rng, (20, k.lanes, 3), ["relu", "identity"], batch=batch, n=5, X=X, finite=False)
        check(k, dtype, rng, (20, 1), ["tanh"], batch=batch, n=5, X=X, finite=False)


def test_no_batches(k, dtype, rng):
    layer = Layer(k, dtype, rng, 4, 1, "tanh", "gradient_descent", 1)
    before = layer.packed[0].copy()
    structs = (kt.ChainLayer * 1)(layer.struct())
    k.train_chain(byref(kt.Chain(addressof(structs), 1)), 3, 3, None)
    assert_array_equal(layer.packed[0], before)
