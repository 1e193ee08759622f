"""Full-batch rules against written-out references and known minima."""

import copy
import os
import pickle
import signal
import threading
import time

import numpy as np
import pytest
from network_cases import FULL_BATCH, make, problem
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Lasso, LogisticRegression, Ridge

from fastbp import BFGS, LBFGS, SGD, Adam, Dense, Network, Newton, NewtonCG, Quickprop, Rprop
from fastbp.full_batch.newton import _downwards, _eigh
from fastbp.network import Model

CONVEX = [Newton(), NewtonCG(gtol=1e-9), BFGS(gtol=1e-9), LBFGS(gtol=1e-9, ftol=0)]
XOR = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0.0, 1, 1, 0])


def name(rule):
    return type(rule).__name__


def rprop(w, g, state, settings):
    """One parameter's update, as the paper's algorithm without backtracking has it."""
    step, previous = state or (settings.learning_rate, 0.0)
    (minus, plus), (smallest, largest) = settings.etas, settings.step_sizes
    if g * previous > 0:
        step = min(step * plus, largest)
    elif g * previous < 0:
        step, g = max(step * minus, smallest), 0.0
    return w - np.sign(g) * step, (step, g)


def quickprop(w, s, state, settings):
    """One parameter's update, in the cases of Fahlman's program."""
    d, p = state or (0.0, 0.0)
    eta, mu = settings.learning_rate, settings.max_growth_factor
    step = 0.0
    if d > 0:
        if s < 0:
            step -= eta * s
        step += mu * d if s <= mu / (1 + mu) * p else d * s / (p - s)
    elif d < 0:
        if s > 0:
            step -= eta * s
        step += mu * d if s >= mu / (1 + mu) * p else d * s / (p - s)
    else:
        step -= eta * s
    return w + step, (step, s)


@pytest.mark.parametrize(
    ("rule", "update"),
    [
        (Rprop(), rprop),
        (Rprop(0.1, etas=(0.3, 1.5), step_sizes=(0.01, 0.2)), rprop),
        (Quickprop(), quickprop),
        (Quickprop(0.3, max_growth_factor=1.2), quickprop),
    ],
)
def test_gradient_rules_against_reference(rng, rule, update):
    """Training, and steps from gradients of one's own, with L1 and L2 of network and layers."""
    layers = [Dense(5, "tanh", l1=0.01), Dense(3, l2=0.1)]
    net = Network(layers, n_inputs=4, loss="softmax_cross_entropy", l2=0.02, random_state=0)
    X, y, _ = problem(rng, 30, 4, 3, "softmax_cross_entropy")
    stepped, expected = copy.deepcopy(net), copy.deepcopy(net)
    w, states = expected.parameters, [None] * net.parameters.size
    for _ in range(60):
        stepped.step(stepped.value_and_gradient(X, y)[1], rule)
        gradient = expected.value_and_gradient(X, y, penalty=True)[1]
        for i, (w_i, g_i) in enumerate(zip(w, gradient, strict=True)):
            w[i], states[i] = update(w_i, g_i, states[i], rule)
    net.fit(X, y, optimizer=rule, epochs=60)
    assert_allclose(net.parameters, w, rtol=1e-6, atol=1e-9)
    assert_allclose(stepped.parameters, w, rtol=1e-6, atol=1e-9)


def test_rprop_is_that_of_pytorch(rng):
    torch = pytest.importorskip("torch")
    net = make([4, 6, 1], "tanh")
    X, y = rng.normal(size=(40, 4)), rng.normal(size=(40, 1))
    twin = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1)).double()
    with torch.no_grad():
        for layer, W, b in zip(twin[::2], net.weights, net.biases, strict=True):
            layer.weight[:] = torch.tensor(W.T)
            layer.bias[:] = torch.tensor(b)
    rule, losses = torch.optim.Rprop(twin.parameters(), lr=0.01), []
    for _ in range(100):
        rule.zero_grad()
        loss = ((twin(torch.tensor(X)) - torch.tensor(y)) ** 2).mean() / 2
        loss.backward()
        rule.step()
        losses.append(loss.item())
    history = net.fit(X, y, optimizer=Rprop(0.01), epochs=100)
    assert_allclose(history.loss, losses, rtol=1e-6)
    for layer, W in zip(twin[::2], net.weights, strict=True):
        assert_allclose(W.T, layer.weight.detach().numpy(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("rule", [Newton(), Newton(damping=0), NewtonCG(gtol=1e-9)])
@pytest.mark.parametrize("seed", range(3))
def test_saddle(rule, seed):
    """XOR from small weights, where the Hessian is indefinite and the gradient almost 0."""
    net = make([2, 4, 1], seed=seed)
    net.parameters[:] *= 0.01
    assert np.linalg.eigvalsh(net.hessian(*XOR))[0] < -0.5
    net.fit(*XOR, optimizer=rule, epochs=100)
    cost, gradient = net.value_and_gradient(*XOR)
    assert cost < 1e-12
    assert np.abs(gradient).max() < 1e-6
    assert np.linalg.eigvalsh(net.hessian(*XOR))[0] > -1e-6


@pytest.mark.parametrize(
    ("rule", "dtype"), [(Newton(), "float32"), (Newton(), "float64"), (NewtonCG(), "float64")], ids=str
)
@pytest.mark.parametrize("activation", ["tanh", "logistic"])
def test_a_saddle_is_left_with_the_settings_by_default(rule, activation, dtype):
    """XOR from small weights: a saddle of cost 1/8, where curvature is a ten-thousandth of the largest."""
    for seed in range(3):
        net = make([2, 4, 1], activation, dtype=dtype, seed=seed)
        net.parameters[:] *= 0.01
        history = net.fit(*XOR, optimizer=rule, epochs=100)
        assert (np.diff(history.loss) <= 1e-12).all()
        assert history.loss[-1] == net.value_and_gradient(*XOR)[0] < 1e-6


@pytest.mark.parametrize("rule", [Newton(), NewtonCG(), Newton(gtol=0), NewtonCG(gtol=0)], ids=str)
def test_an_exact_saddle_is_left(rule):
    """All weights 0: there is no gradient at all, and the Hessian has eigenvalues of both signs."""
    X, y = np.array([[-1.0], [1]]), np.array([-0.5, 0.5])
    for dtype in ("float32", "float64"):
        net = make([1, 3, 1], dtype=dtype, initializer="zeros")
        assert not net.value_and_gradient(X, y)[1].any()
        history = net.fit(X, y, optimizer=rule, epochs=1)
        assert history.loss == [0.125]
        assert net.value_and_gradient(X, y)[0] < 0.125
        history = net.fit(X, y, optimizer=rule, epochs=100)
        assert history.loss[-1] < 1e-6
        flat = make([1, 1], dtype=dtype, initializer="zeros")  # a minimum is not left
        history = flat.fit(X, np.zeros(2), optimizer=rule, epochs=9)
        assert history.loss == [0]
        assert not flat.parameters.any()


@pytest.mark.parametrize("n", [1, 2, 5, 40, 300])
def test_negative_curvature_is_found_from_products(rng, n):
    A = rng.normal(size=(n, n))
    A = A @ A.T / n
    assert _downwards(lambda v: A @ v, n) is None
    assert _downwards(lambda v: 0 * v, n) is None
    assert _downwards(lambda v: np.nan * v, n) is None
    values, vectors = np.linalg.eigh(A)
    B = A - (values[0] + 0.05) * np.outer(vectors[:, 0], vectors[:, 0])
    direction = _downwards(lambda v: B @ v, n)
    assert_allclose(np.linalg.norm(direction), 1)
    assert_allclose(direction @ B @ direction, -0.05, rtol=1e-2)


@pytest.mark.parametrize("rule", CONVEX, ids=name)
def test_same_minimum_as_linear_models(rng, rule):
    X = rng.normal(size=(60, 5))
    weight = rng.random(60) + 0.1
    y = X @ rng.normal(size=(5, 2)) + rng.normal(size=(60, 2))
    net = make([5, 2], l2=3 / weight.sum())
    net.fit(X, y, optimizer=rule, epochs=200, sample_weight=weight)
    ridge = Ridge(alpha=3, solver="cholesky").fit(X, y, weight)
    assert_allclose(net.weights[0].T, ridge.coef_, rtol=1e-6)
    assert_allclose(net.biases[0], ridge.intercept_, rtol=1e-6)

    y = (y[:, 0] > 0).astype(int) + (y[:, 1] > 0)
    logistic = LogisticRegression(C=2, tol=1e-10, max_iter=1000)
    net = make([5, 3], loss="softmax_cross_entropy", l2=1 / (2 * 60))
    history = net.fit(X, y, optimizer=rule, epochs=200)
    assert len(history.loss) < 200
    assert_allclose(net.predict(X), logistic.fit(X, y).predict_proba(X), atol=1e-5)
    net = make([5, 1], loss="cross_entropy", l2=1 / (2 * 60))
    net.fit(X, y > 0, optimizer=rule, epochs=200)
    assert_allclose(net.weights[0][:, 0], logistic.fit(X, y > 0).coef_[0], atol=1e-5)


def test_lbfgs_meets_l1_exactly(rng):
    X = rng.normal(size=(60, 10))
    y = X[:, :3] @ [1.0, -2, 0.1] + rng.normal(size=60)
    net = make([10, 1], l1=0.2)
    history = net.fit(X, y, optimizer=LBFGS(gtol=1e-9, ftol=0), epochs=500)
    lasso = Lasso(alpha=0.2, tol=1e-12).fit(X, y)
    assert_allclose(net.weights[0][:, 0], lasso.coef_, atol=1e-6)
    assert_array_equal(net.weights[0][:, 0] == 0, lasso.coef_ == 0)
    assert_allclose(history.loss[-1], net.value_and_gradient(X, y, penalty=True)[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", FULL_BATCH, ids=name)
def test_history_is_the_cost_before_each_update(rng, rule, dtype, capsys):
    X, y, _ = problem(rng, 40, 4, 3, "softmax_cross_entropy")
    weight = rng.random(40)
    net = make([4, 5, 3], "tanh", "softmax_cross_entropy", dtype, l2=0.1, **({"l1": 0.01} if rule == LBFGS() else {}))

    def cost():
        return net.value_and_gradient(X, y, weight, penalty=True)[0]

    costs = [cost()]
    history = net.fit(
        X, y, optimizer=rule, epochs=300, sample_weight=weight, validation_data=(X, y), verbose=True,
        callback=lambda epoch, history: costs.append(cost()),
    )  # fmt: skip
    n = len(history.loss)
    assert_allclose(history.loss, costs[:n], rtol=1e-12 if dtype == "float64" else 1e-6)
    assert costs[-1] < 0.95 * costs[0]
    assert len(history.validation_loss) == len(history.seconds) == n
    assert capsys.readouterr().out.count("validation loss") == n
    if rule not in FULL_BATCH[:2] and dtype == "float64":
        assert n < 300
        assert costs[-1] == costs[-2]
        again = net.fit(X, y, optimizer=rule, epochs=300, sample_weight=weight)
        assert len(again.loss) < 20
        assert_allclose(again.loss, costs[-1], rtol=1e-6)


@pytest.mark.parametrize("rule", FULL_BATCH, ids=name)
def test_training_ends_where_it_is_told_to(rng, rule):
    X, y = rng.normal(size=(60, 5)), rng.normal(size=60)
    train, validation = (X[:30], y[:30]), (X[30:], y[30:])
    net = make([5, 20, 1])
    parameters = []
    history = net.fit(*train, optimizer=rule, epochs=3, callback=lambda *_: parameters.append(net.parameters.copy()))
    assert len(history.loss) == len(parameters) == 3
    assert_array_equal(net.parameters, parameters[-1])
    history = make([5, 20, 1]).fit(*train, optimizer=rule, epochs=9, callback=lambda epoch, history: epoch == 1)
    assert len(history.loss) == 2

    net = make([5, 20, 1])
    history = net.fit(*train, optimizer=rule, epochs=500, validation_data=validation, early_stopping=5)
    best = history.validation_loss.argmin()
    assert len(history.loss) == best + 6
    assert_allclose(net.value_and_gradient(*validation)[0], history.validation_loss[best])


@pytest.mark.parametrize("rule", FULL_BATCH, ids=name)
def test_interrupt_leaves_the_last_whole_iteration(rng, rule, monkeypatch):
    X, y, _ = problem(rng, 30, 4, 2, "squared_error")
    net, seen, calls, evaluate = make([4, 5, 2]), [], [0], Model.evaluate

    def interrupted(self, *args, **kwargs):
        calls[0] += 1
        if calls[0] == 8:
            raise KeyboardInterrupt
        return evaluate(self, *args, **kwargs)

    monkeypatch.setattr(Model, "evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y, optimizer=rule, epochs=50, callback=lambda *_: seen.append(net.parameters.copy()))
    assert len(seen) > 2
    assert_array_equal(net.parameters, seen[-1])


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_interrupt_of_the_eigenvalues(rng, monkeypatch):
    """Ctrl-C does not wait for LAPACK, which has seconds to go; the network is that of the last whole iteration."""
    X, y = rng.normal(size=(20, 40)), rng.normal(size=20)
    net, eigh = make([40, 50, 1], "tanh"), np.linalg.eigh
    net.fit(X, y, optimizer=SGD(0.01))
    w, sent, before = net.parameters.copy(), [], threading.active_count()

    def interrupt():
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    def slow_eigh(H):
        threading.Timer(0.2, interrupt).start()
        return eigh(H)

    monkeypatch.setattr(np.linalg, "eigh", slow_eigh)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y, optimizer=Newton(), epochs=3)
    assert time.perf_counter() - sent[0] < 1
    assert_array_equal(net.parameters, w)
    monkeypatch.undo()
    net.fit(X, y, optimizer=SGD(0.01))
    deadline = time.perf_counter() + 60
    while threading.active_count() > before and time.perf_counter() < deadline:
        time.sleep(0.05)  # not to take a processor from other tests


def test_eigenvalues_in_another_thread(rng):
    """They are those of the calling thread, errors among them."""
    H = rng.normal(size=(600, 600))
    for a, b in zip(_eigh(H + H.T), np.linalg.eigh(H + H.T), strict=True):
        assert_allclose(np.abs(a), np.abs(b), atol=1e-9)
    with pytest.raises(np.linalg.LinAlgError):
        _eigh(H[:, :500])


@pytest.mark.parametrize("rule", FULL_BATCH, ids=name)
def test_failures_leave_the_network_alone(rng, rule):
    X, y, _ = problem(rng, 20, 4, 2, "poisson")
    net = make([4, 3, 2], loss="poisson")
    net.fit(X, y, optimizer=Adam())
    before = pickle.dumps(net)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        net.fit(np.where(X > 1, np.nan, X), y, optimizer=rule)
    with pytest.raises(ZeroDivisionError):
        net.fit(X, y, optimizer=rule, epochs=3, callback=lambda *_: 1 / 0)
    with pytest.raises(ValueError, match=f"batch_size must be None for {name(rule)}, .* got 10"):
        net.fit(X, y, optimizer=rule, batch_size=10)
    assert pickle.dumps(net) == before
    net.biases[1][:] = 800  # exp overflows
    before = pickle.dumps(net)
    with pytest.raises(FloatingPointError, match="not finite after epoch 0"):
        net.fit(X, y, optimizer=rule, epochs=3)
    assert pickle.dumps(net) == before


@pytest.mark.parametrize("rule", FULL_BATCH, ids=name)
def test_partial_fit_and_threads(rng, rule):
    X, y, _ = problem(rng, 300, 4, 2, "squared_error")
    a, b, c, d = (make([4, 30, 2]) for _ in range(4))
    a.fit(X, y, optimizer=rule, epochs=4, n_threads=1)
    b.fit(X, y, optimizer=rule, epochs=4, n_threads=2)
    assert_array_equal(a.parameters, b.parameters)
    for _ in range(2):
        c.partial_fit(X, y, optimizer=rule, epochs=2)
        d.fit(X, y, optimizer=rule, epochs=2)
    assert np.array_equal(c.parameters, d.parameters) == (rule not in FULL_BATCH[:2])
    if rule in FULL_BATCH[:2]:
        assert_array_equal(a.parameters, c.parameters)


def test_state_is_not_taken_over_from_another_rule(rng):
    X, y, _ = problem(rng, 20, 4, 2, "squared_error")
    rules = [Adam(), Rprop(), Quickprop(), SGD(0.1)]
    for first, second in ((a, b) for a in rules for b in rules if a != b):
        net = make([4, 2])
        net.fit(X, y, optimizer=first, epochs=3)
        twin = copy.deepcopy(net)
        net.partial_fit(X, y, optimizer=second, epochs=3, shuffle=False)
        twin.fit(X, y, optimizer=second, epochs=3, shuffle=False)
        assert_array_equal(net.parameters, twin.parameters)


def test_rules_say_what_they_cannot_train(rng):
    X, y, _ = problem(rng, 10, 4, 2, "squared_error")
    for rule in FULL_BATCH[2:]:
        net = make([4, 2])
        with pytest.raises(TypeError, match=f"optimizer must be .* for step: {name(rule)} needs the cost"):
            net.step(np.ones(10), rule)
    for rule in (Newton(), NewtonCG(), BFGS()):
        net = Network([Dense(2, l1=0.1)], n_inputs=4)
        with pytest.raises(ValueError, match=f"{name(rule)} needs a differentiable penalty, l1 must be 0"):
            net.fit(X, y, optimizer=rule)
    for rule in (Newton(), BFGS()):
        with pytest.raises(ValueError, match=f"{name(rule)} is for networks of at most 5000 parameters, got 5010"):
            make([500, 10]).fit(np.ones((1, 500)), np.ones((1, 10)), optimizer=rule)


@pytest.mark.parametrize(
    ("make_rule", "message"),
    [
        (lambda: Rprop(0), "learning_rate must be"),
        (lambda: Rprop(etas=0.5), "etas must be a pair of numbers, got 0.5"),
        (lambda: Rprop(etas=(1, 1.2)), r"etas\[0\] must be"),
        (lambda: Rprop(etas=(0.5, 1)), r"etas\[1\] must be"),
        (lambda: Rprop(step_sizes=(0, 1)), r"step_sizes\[0\] must be"),
        (lambda: Rprop(step_sizes=(2, 1)), r"step_sizes\[1\] must be"),
        (lambda: Quickprop(-1), "learning_rate must be"),
        (lambda: Quickprop(max_growth_factor=0), "max_growth_factor must be"),
        (lambda: Newton(damping=-1), "damping must be"),
        (lambda: Newton(factor=1), "factor must be"),
        (lambda: Newton(gtol=np.nan), "gtol must be"),
        (lambda: NewtonCG(gtol="a"), "gtol must be"),
        (lambda: NewtonCG(initial_trust_radius=0), "initial_trust_radius must be"),
        (lambda: NewtonCG(max_trust_radius=1), "max_trust_radius must be"),
        (lambda: NewtonCG(eta=0.25), "eta must be"),
        (lambda: BFGS(gtol=-1), "gtol must be"),
        (lambda: LBFGS(maxcor=0), "maxcor must be an integer"),
        (lambda: LBFGS(maxls=2.5), "maxls must be an integer"),
        (lambda: LBFGS(ftol=-1), "ftol must be"),
        (lambda: LBFGS(gtol=-1), "gtol must be"),
    ],
)
def test_bad_settings(make_rule, message):
    with pytest.raises(ValueError, match=message):
        make_rule()


def test_settings_are_immutable_and_readable():
    assert repr(Rprop(etas=[0.4, 1.3])) == "Rprop(etas=(0.4, 1.3))"
    for rule in FULL_BATCH:
        with pytest.raises(AttributeError):
            rule.gtol = 1
        assert eval(repr(rule)) == rule
