"""Update rules, norms, ties and bounds."""

from ctypes import byref, c_double

import kernel_table as kt
import numpy as np
import pytest
import reference
from kernel_cases import SIZES, guarded, tolerance
from kernel_table import pointer
from numpy.testing import assert_allclose, assert_array_equal


@pytest.mark.parametrize("rule", kt.RULES)
@pytest.mark.parametrize(
    ("l1", "l2", "extras"),
    [
        (0.0, 0.0, {}),
        (0.3, 0.0, {}),
        (0.0, 0.2, {}),
        (0.1, 0.4, {}),
        (0.1, 0.0, {"scale": 0.5}),
        (0.0, 0.0, {"clip": 0.4}),
        (0.0, 0.4, {"decay": 0.03}),
        (0.0, 0.4, {"proximal": 0.1}),
        (0.3, 0.0, {"proximal": 0.1}),
        (0.3, 0.4, {"proximal": 0.1, "decay": 0.03, "scale": 0.5, "clip": 0.1}),
    ],
)
def test_update(k, dtype, rng, rule, l1, l2, extras):
    if rule == "nesterov":
        extras = {name: value for name, value in extras.items() if name != "proximal"}  # which has no such form
    decay, proximal = extras.get("decay", 0), "proximal" in extras
    settings = {
        "rule": rule, "momentum": 0.8, "beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-3, "dampening": 0,
        "weight_decay": decay / 0.1, "proximal": proximal, "clip_value": 0, "clip_norm": 0,
    }  # fmt: skip
    rate, epsilon, t = 0.1, 1e-3, 1
    if rule.startswith("adam"):  # the kernel's settings have the bias corrections of the step in them
        t, root = 3, np.sqrt(1 - 0.9**3)
        rate, epsilon = 0.1 * root / (1 - 0.7**3), epsilon * (root if rule == "adamw" else 1)
        extras = {name: value * (root if name == "proximal" else 1) for name, value in extras.items()}
    u = kt.Update(
        rule, learning_rate=rate, momentum=0.8, beta_1=0.7, beta_2=0.9, epsilon=epsilon, l1=l1, l2=l2, **extras
    )
    for n in SIZES:
        w, g = rng.normal(size=n).astype(dtype), rng.normal(size=n).astype(dtype)
        w[n // 2 : n // 2 + 1] = 0  # where sign(w) is 0
        states = [rng.random(n).astype(dtype) for _ in range(kt.RULES[rule])]
        expected_states = [s.astype(float) for s in states]
        ww = w.astype(float)
        total = (g + l2 * ww + (0 if proximal else l1 * np.sign(w))) * extras.get("scale", 1)
        total = np.clip(total, -extras.get("clip", np.inf), extras.get("clip", np.inf))
        expected = reference.update(settings, ww, total, expected_states, t, 0.1, l1 * proximal)
        new, check = guarded((n,), dtype)
        new[:] = w
        cost = c_double(1.5)
        k.update(byref(u), n, pointer(new), pointer(g), pointer(kt.states(states)), byref(cost))
        # a centered average is a difference of nearly equal numbers at times
        close = tolerance(dtype, 400 if rule == "rmsprop_centered" else 4)
        assert_allclose(new, expected, **close)
        for s, e in zip(states, expected_states, strict=True):
            assert_allclose(s, e, **close)
        squares = (k.norm(byref(u), n, pointer(w), pointer(g)) * extras.get("scale", 1)) ** 2
        if "clip" not in extras:
            assert_allclose(squares, total @ total, rtol=1e-5)
        assert_allclose(cost.value, 1.5 + l1 * np.abs(ww).sum() + l2 / 2 * (ww**2).sum(), rtol=1e-5)
        check()


@pytest.mark.parametrize("rule", kt.RULES)
@pytest.mark.parametrize("decay", [0.0, 0.03])
def test_update_at_rest(k, dtype, rng, rule, decay):
    """The bits of updates with gradient 0, if factors are 1; the factors."""
    steps = (kt.StepSettings * 5)(*((rate, 1e-3 * rate, decay * rate) for rate in (0.1, 0.0, 0.5, 0.2, 0.1)))
    ones = np.ones(kt.MAX_STATES + 1)
    for n in SIZES:
        w, check = guarded((n,), dtype)
        w[:] = rng.normal(size=n)
        states = [rng.random(n).astype(dtype) for _ in range(kt.RULES[rule])]
        expected, expected_states = w.copy(), [s.copy() for s in states]
        for step in steps:
            u = kt.Update(rule, momentum=0.8, beta_1=0.7, beta_2=0.9)
            u.learning_rate, u.epsilon, u.decay = step.learning_rate, step.epsilon, step.decay
            k.update(
                byref(u), n, pointer(expected), pointer(np.zeros(n, dtype)), pointer(kt.states(expected_states)),
                byref(c_double()),
            )  # fmt: skip
        u = kt.Update(rule, momentum=0.8, beta_1=0.7, beta_2=0.9)
        k.update_at_rest(byref(u), steps, 5, pointer(ones), n, pointer(w), pointer(kt.states(states)))
        assert_array_equal(w, expected)
        for s, e in zip(states, expected_states, strict=True):
            assert_array_equal(s, e)
        factors = np.array([0.5, 2, 4, 8, 0.25])
        k.update_at_rest(byref(u), None, 0, pointer(factors), n, pointer(w), pointer(kt.states(states)))
        assert_array_equal(w, expected / 4)
        for s, e, factor in zip(states, expected_states, factors, strict=False):
            assert_array_equal(s, e * dtype.type(factor))
        check()


def test_no_rule(k, dtype, rng):
    """Nothing changes, whatever the gradient is and the sign of zeros; the penalty counts."""
    u = kt.Update("adam", learning_rate=0.1, l1=0.3, l2=0.2, decay=0.5, clip=0.1, proximal=0.1)
    u.rule = len(kt.RULES)  # NO_RULE
    for n in SIZES:
        w, g = rng.normal(size=n).astype(dtype), rng.choice([1, -1, np.inf, np.nan], n).astype(dtype)
        w[::3] = -0.0
        states, cost, new = [np.ones(n, dtype), np.ones(n, dtype)], c_double(1.5), w.copy()
        k.update(byref(u), n, pointer(new), pointer(g), pointer(kt.states(states)), byref(cost))
        assert new.tobytes() == w.tobytes() and all((s == 1).all() for s in states)
        sizes = np.abs(w.astype(float))
        assert_allclose(cost.value, 1.5 + 0.3 * sizes.sum() + 0.1 * (sizes**2).sum(), rtol=1e-5)


@pytest.mark.parametrize("rule", kt.RULES)
@pytest.mark.parametrize("extras", [{}, {"clip": 0.4, "l1": 0.1}])
def test_update_averages_what_it_makes(k, dtype, rng, rule, extras):
    """And else makes the same."""
    for n in [*SIZES, 4000]:
        w, g, a = (rng.normal(size=n).astype(dtype) for _ in range(3))
        results = []
        for share in (0, 0.3):
            u = kt.Update(rule, learning_rate=0.1, momentum=0.8, epsilon=1e-3, average=share, **extras)
            new, states, cost = w.copy(), [np.full(n, 0.5, dtype) for _ in range(kt.RULES[rule])], c_double(0)
            average, check = guarded((n,), dtype)
            average[:] = a
            k.update(byref(u), n, pointer(new), pointer(g), pointer(kt.states(states, average)), byref(cost))
            assert_allclose(average, reference.average(a.astype(float), new, share), **tolerance(dtype))
            results.append([cost.value, new, *states])
            check()
        for one, other in zip(*results, strict=True):
            assert_array_equal(one, other)


def test_average(k, dtype, rng):
    for n in SIZES:
        w, (average, check) = rng.normal(size=n).astype(dtype), guarded((n,), dtype)
        average[:] = rng.normal(size=n)
        for share in (0.0, 1e-4, 0.5, 1.0):
            expected = reference.average(average.astype(float), w, share)
            k.average(share, n, pointer(w), pointer(average))
            assert_allclose(average, expected, **tolerance(dtype))
        check()
    for bad in (np.nan, np.inf):  # spoils no other element; what is not finite does not come back
        w, average = np.ones(19, dtype), np.ones(19, dtype)
        w[[1, 17]] = bad
        k.average(0.5, 19, pointer(w), pointer(average))
        assert_array_equal(np.flatnonzero(~np.isfinite(average)), [1, 17])
        assert_array_equal(average[[0, 2, 18]], 1)


@pytest.mark.parametrize("rule", kt.RULES)
@pytest.mark.parametrize("extras", [{}, {"clip": 1.0, "decay": 0.1, "proximal": 0.1}])
def test_update_nonfinite(k, dtype, rule, extras):
    """NaN stays NaN, whatever bounds there are, and spoils no other element."""
    u = kt.Update(rule, learning_rate=1.0, momentum=0.5, beta_1=0.5, beta_2=0.5, epsilon=1e-3, l1=0.5, **extras)
    results = []
    for bad in (0, np.nan):
        w, g = np.ones(19, dtype), np.zeros(19, dtype)
        states = [np.full(19, 0.25, dtype) for _ in range(kt.RULES[rule])]
        g[[1, 17]] = bad
        k.update(byref(u), 19, pointer(w), pointer(g), pointer(kt.states(states)), byref(c_double(0)))
        results.append(w)
    assert_array_equal(np.flatnonzero(np.isnan(results[1])), [1, 17])
    assert_array_equal(np.delete(results[0], [1, 17]), np.delete(results[1], [1, 17]))
    w, g = np.ones(9, dtype), np.full(9, -np.inf, dtype)
    u = kt.Update("gradient_descent", learning_rate=1.0, clip=2.0)
    k.update(byref(u), 9, pointer(w), pointer(g), pointer(kt.states([])), byref(c_double(0)))
    assert_array_equal(w, 3)


@pytest.mark.parametrize("rule", kt.RULES)
@pytest.mark.parametrize("extras", [{}, {"l1": 0.1}, {"clip": 1e30}])
def test_update_says_whether_states_are_small(k, dtype, rule, extras):
    """Below 2 in size; the average is none of them."""
    u = kt.Update(rule, learning_rate=1.0, momentum=1.0, beta_1=1.0, beta_2=1.0, **extras)  # of no gradient they stay
    sizes = {0: 1, 1.99: 1, 2: 0, 3e30: 0, np.inf: 0, np.nan: 0}
    if rule in ("momentum", "nesterov"):
        sizes |= {-1.99: 1, -2: 0}
    for n in (*SIZES, 5000):
        for j in range(kt.RULES[rule]):
            for size, small in sizes.items():
                states = [np.zeros(n, dtype) for _ in range(kt.RULES[rule])]
                states[j][n // 2 : n // 2 + 1] = size
                w, g, average = np.zeros(n, dtype), np.zeros(n, dtype), np.full(n, 10, dtype)
                arrays = kt.states(states, average)
                got = k.update(byref(u), n, pointer(w), pointer(g), pointer(arrays), byref(c_double(0)))
                assert got == (small or n == 0), (n, j, size)


@pytest.mark.parametrize("rule", [rule for rule in kt.RULES if rule.startswith(("ada", "rms"))])
@pytest.mark.parametrize("epsilon", [0.0, 1e-50, 1e-44, 1e-30])
def test_epsilon_that_is_hardly_there(k, dtype, rule, epsilon):
    """A gradient of 0 makes no step, and one whose square underflows none that is larger than the rate."""
    g = np.array([0, 1e-30, 1e-24, 1e-18, 1], dtype)
    w, states = np.zeros(5, dtype), [np.zeros(5, dtype) for _ in range(kt.RULES[rule])]
    u = kt.Update(rule, learning_rate=0.5, beta_1=0.0, beta_2=0.0, epsilon=epsilon)
    k.update(byref(u), 5, pointer(w), pointer(g), pointer(kt.states(states)), byref(c_double(0)))
    assert w[0] == 0
    if rule != "rmsprop_centered":  # whose variance of one gradient is 0
        assert (abs(w) <= 0.5).all()
        assert_allclose(w[-1], -0.5)


def test_norm_of_what_has_no_finite_square(k, dtype):
    u = kt.Update("gradient_descent", learning_rate=1.0)
    tiny, top = float(np.finfo(dtype).tiny), float(np.finfo(dtype).max)
    for size in (top / 256, top**0.5, 1.0, tiny**0.5, tiny, 0.0, np.inf):
        for n in (2, 64, 10_000):
            g = np.full(n, size, dtype)
            exact = float(g[0]) * np.sqrt(n)
            w = np.zeros(n, dtype)
            assert_allclose(k.norm(byref(u), n, pointer(w), pointer(g)), exact, rtol=40 * np.finfo(dtype).eps)
    g = np.array([1, np.nan, 1], dtype)
    assert np.isnan(k.norm(byref(u), 3, pointer(g), pointer(g)))


@pytest.mark.parametrize("m", [0, 1, 5, 40])
def test_tie(k, dtype, rng, m):
    for n in range(1, k.lanes + 1):
        a, b = rng.normal(size=(m, n + 3)).astype(dtype), rng.normal(size=(m, n + 1)).astype(dtype)
        g, check = guarded((m, n + 2), dtype)
        g[:] = rng.normal(size=g.shape)
        difference, before = a.astype(float)[:, :n] - b[:, :n], g.copy()
        squares = k.tie(m, n, 0.3, pointer(a), n + 3, pointer(b), n + 1, pointer(g), n + 2)
        assert_allclose(squares, (difference**2).sum(), **tolerance(dtype, m))
        assert_allclose(g[:, :n], before[:, :n] + 0.3 * difference, **tolerance(dtype))
        assert_array_equal(g[:, n:], before[:, n:])
        check()


@pytest.mark.parametrize("m", [0, 1, 5, 40])
def test_bound_columns(k, dtype, rng, m):
    for n in range(1, k.lanes + 1):
        w, check = guarded((m, n + 2), dtype)
        w[:] = rng.normal(size=w.shape)
        before = w.astype(float)
        norms = np.linalg.norm(before[:, :n], axis=0)
        most = float(np.median(norms)) * 1.01
        assert k.bound_columns(m, n, pointer(w), n + 2, most) == (norms > most).any()
        before[:, :n] *= np.where(norms > most, most / np.maximum(norms, 1e-30), 1)
        assert_allclose(w, before, **tolerance(dtype, 10))
        check()


@pytest.mark.parametrize("m", [2, 300])
def test_bound_of_columns_whose_squares_overflow(k, dtype, m):
    """As well as those whose squares underflow, beside each other; what is not finite stays as it is."""
    top = float(np.finfo(dtype).max) / 4
    for most in (1.0, 1e-25):
        scales = np.array([top, top**0.5 * 8, 1e-25, 3.0, 0.0, np.nan])[: k.lanes]
        unit = np.tile([3.0, 4.0], m // 2) / 5
        w = np.outer(unit, scales).astype(dtype)
        expected = w.copy()
        for j in np.flatnonzero(np.sqrt(m / 2) > most / scales.clip(1e-200)):
            expected[:, j] = unit * (most / np.sqrt(m / 2))
        assert k.bound_columns(m, w.shape[1], pointer(w), w.shape[1], most)
        assert_allclose(w, expected, rtol=20 * np.finfo(dtype).eps)
