"""Learning-rate schedules: closed formulas, PyTorch's where it has the same rule, and their place in training."""

import copy
import math
import pickle

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from fastbp import (
    LBFGS,
    SGD,
    Adam,
    CosineWarmRestarts,
    Cyclical,
    Dense,
    Exponential,
    InverseScaling,
    MLPClassifier,
    MLPRegressor,
    Network,
    OneCycle,
    ReduceOnPlateau,
    StepDecay,
    WarmUp,
)
from fastbp.network import draw

STEPS = np.arange(100)


def triangle(k):
    cycle = math.floor(1 + k / 14)  # Smith's own form
    return 0.1 + 0.4 * max(0, 1 - abs(k / 7 - 2 * cycle + 1))


def restarts(k):
    length = 6
    while k >= length:
        k, length = k - length, length * 3
    return 0.01 + 0.49 * (1 + math.cos(math.pi * k / length)) / 2


def one_cycle(k):
    if k <= 19:
        return 0.05 + 0.45 * (1 - math.cos(math.pi * k / 19)) / 2
    return 0.0005 + 0.4995 * (1 + math.cos(math.pi * min(1, (k - 19) / 60))) / 2


FORMULAS = [
    (StepDecay(0.5, 0.3, every=7, per="step"), lambda k: 0.5 * 0.3 ** (k // 7)),
    (Exponential(0.5, 0.9, per="step"), lambda k: 0.5 * 0.9**k),
    (InverseScaling(0.5, 0.7), lambda k: 0.5 / (k + 1) ** 0.7),
    (Cyclical(0.1, 0.5, half_cycle=7), triangle),
    (CosineWarmRestarts(0.5, 6, t_mult=3, minimum=0.01), restarts),
    (CosineWarmRestarts(0.5, 8), lambda k: 0.25 * (1 + math.cos(math.pi * (k % 8) / 8))),
    (OneCycle(0.5, 80, warm_up=0.25, div=10, final_div=100), one_cycle),
    (OneCycle(0.5, 80, warm_up=0, anneal="linear"), lambda k: max(0.5 / 25e4, 0.5 - (0.5 - 0.5 / 25e4) * k / 79)),
    (WarmUp(10, then=0.5, start_factor=0.1), lambda k: 0.5 * min(1, 0.1 + 0.09 * k)),
    (WarmUp(10, then=Exponential(0.5, 0.9, per="step")), lambda k: 0.5 * min(0.01 + 0.099 * k, 0.9 ** max(0, k - 10))),
]


@pytest.mark.parametrize(("schedule", "formula"), FORMULAS)
def test_formulas(schedule, formula):
    rates = schedule.rates(STEPS)
    assert rates.dtype == np.float64
    assert schedule.per == "step"
    assert_allclose(rates, [formula(k) for k in STEPS], rtol=1e-10)
    assert_array_equal(schedule.rates(STEPS[40:50], epoch=3), rates[40:50])  # the epoch does not matter
    assert pickle.loads(pickle.dumps(schedule)) == schedule


@pytest.mark.parametrize(("schedule", "formula"), FORMULAS[:-2])
def test_per_epoch(schedule, formula):
    schedule = copy.deepcopy(schedule)
    object.__setattr__(schedule, "per", "epoch")
    for epoch in (0, 1, 17, 60):
        assert_allclose(schedule.rates(STEPS, epoch), np.full(100, formula(epoch)), rtol=1e-10)


def test_warm_up_before_a_schedule_per_epoch():
    schedule = WarmUp(10, then=StepDecay(0.5, every=2), start_factor=0.1)
    assert schedule.per == "epoch"
    assert_allclose(schedule.rates([0, 5], 0), [0.05, 0.275])
    assert_allclose(schedule.rates([5, 20], 2), [0.0275, 0.05])


def test_reduce_on_plateau():
    schedule, memory, rates = ReduceOnPlateau(0.8, 0.5, patience=1, threshold=0.1, minimum=0.15), None, []
    for loss in (10, 9.5, 8.9, 8.5, 8.2, 8, 8, 1, 2, 2, np.nan, 2, 2):
        memory = schedule.observe(memory, loss)
        rates.append(schedule.rates([0, 1], memory=memory)[1])
    assert_allclose(rates, [0.8] * 4 + [0.4] * 5 + [0.2] * 2 + [0.15] * 2)


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: WarmUp(5, then=s)])
def test_reduce_on_plateau_of_a_negative_loss(wrap):
    """Improvement is measured by the size of the best loss: below -3, -3.01 is better and -2.99 worse."""
    schedule, memory, loss = wrap(ReduceOnPlateau(0.1, patience=2)), None, -3.0
    for _ in range(100):
        memory, loss = schedule.observe(memory, loss), loss * 0.99995
    assert memory == (33, -3.0, 0)

    schedule, memory, loss = wrap(ReduceOnPlateau(0.1, patience=2, threshold=0.01)), None, 0.5
    for change in (0.4, -0.02, 0.4, -0.02, -0.02, -0.02):  # the larger falls are progress, also from above 0 to below
        memory, loss = schedule.observe(memory, loss), loss - change
    assert memory[:2] == (0, pytest.approx(-0.28))
    for _ in range(3):
        memory, loss = schedule.observe(memory, loss), loss - 0.0005
    assert memory[0] == 1


def test_a_plateau_below_zero(rng):
    """The Gaussian cost of a target with little noise, at its minimum: nothing more to gain."""
    X = rng.normal(size=(200, 2))
    y = X[:, 0] + 1e-3 * rng.normal(size=200)
    net = Network([Dense(2)], n_inputs=2, loss="gaussian", random_state=0)
    net.fit(X, y, optimizer=LBFGS(), epochs=500)
    losses = net.fit(X, y, optimizer=SGD(ReduceOnPlateau(1e-12, 0.5, patience=3)), epochs=21).loss
    assert losses.max() < -3
    assert net._model.optimizer_state.memory[0] == 5


TORCH = [
    (StepDecay(0.5, 0.3, every=7, per="step"), "StepLR", {"step_size": 7, "gamma": 0.3}),
    (Exponential(0.5, 0.9, per="step"), "ExponentialLR", {"gamma": 0.9}),
    (InverseScaling(0.5, 0.7), "LambdaLR", {"lr_lambda": lambda k: (k + 1) ** -0.7}),
    (
        Cyclical(0.1, 0.5, half_cycle=7), "CyclicLR",
        {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 7, "cycle_momentum": False},
    ),
    (CosineWarmRestarts(0.5, 6, 3, 0.01), "CosineAnnealingWarmRestarts", {"T_0": 6, "T_mult": 3, "eta_min": 0.01}),
    (CosineWarmRestarts(0.5, 9), "CosineAnnealingWarmRestarts", {"T_0": 9}),
    (OneCycle(0.5, 100), "OneCycleLR", {"max_lr": 0.5, "total_steps": 100, "cycle_momentum": False}),
    (
        OneCycle(0.5, 100, 0.4, 10, 100, "linear"), "OneCycleLR",
        {"max_lr": 0.5, "total_steps": 100, "pct_start": 0.4, "div_factor": 10, "final_div_factor": 100,
         "anneal_strategy": "linear", "cycle_momentum": False},
    ),
    (WarmUp(10, then=0.5), "LinearLR", {"start_factor": 0.01, "total_iters": 10}),
    (WarmUp(10, then=CosineWarmRestarts(0.5, 9)), "SequentialLR", None),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning:torch", "ignore::DeprecationWarning")
@pytest.mark.parametrize(("schedule", "name", "settings"), TORCH)
def test_as_pytorch(schedule, name, settings):
    torch = pytest.importorskip("torch")
    scheduler = torch.optim.lr_scheduler
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    if settings is None:
        first = scheduler.LinearLR(optimizer, 0.01, total_iters=10)
        then = scheduler.CosineAnnealingWarmRestarts(optimizer, 9)
        theirs = scheduler.SequentialLR(optimizer, [first, then], milestones=[10])
    else:
        theirs = getattr(scheduler, name)(optimizer, **settings)
    rates = []
    for _ in STEPS:
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    assert_allclose(schedule.rates(STEPS), rates, rtol=1e-9)


def test_reduce_on_plateau_as_pytorch(rng):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.3, patience=3, threshold=0.02, min_lr=1e-3, eps=0
    )
    ours, memory = ReduceOnPlateau(0.5, 0.3, patience=3, threshold=0.02, minimum=1e-3), None
    for loss in np.exp(-STEPS / 30) + 0.1 * rng.random(100):
        theirs.step(loss)
        memory = ours.observe(memory, loss)
        assert_allclose(ours.rates([0], memory=memory), optimizer.param_groups[0]["lr"], rtol=1e-12)
    assert memory[0] > 3


# ---- in training ----------------------------------------------------------------------------------------------------


def make(**settings):
    return Network([Dense(6, "tanh"), Dense(1)], n_inputs=4, random_state=0, **settings)


def data(rng):
    return rng.normal(size=(50, 4)), rng.normal(size=50)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", [SGD, lambda rate: SGD(rate, momentum=0.9), Adam])
@pytest.mark.parametrize(
    "schedule",
    [OneCycle(0.1, 20), StepDecay(0.1, 0.5, every=2), WarmUp(8, Exponential(0.1, 0.5)), CosineWarmRestarts(0.1, 7)],
)
def test_every_step_has_its_rate(rng, rule, schedule, dtype):
    """Against updates in NumPy; fit begins the schedule, partial_fit goes on with it."""
    X, y = data(rng)
    optimizer, net, twin = rule(schedule), make(dtype=dtype), make()
    twin.parameters[:] = net.parameters
    net.fit(X, y, optimizer=optimizer)  # is forgotten
    net.parameters[:] = twin.parameters
    w, t, state = twin.parameters, 0, [np.zeros_like(twin.parameters) for _ in range(optimizer.n_states)]
    for epoch in range(5):
        for rows in np.split(np.arange(50), [16, 32, 48]):
            g = twin.value_and_gradient(X[rows], y[rows])[1]
            rate = schedule.rates([t], epoch)[0]
            t += 1
            w[:] = reference.update(optimizer.settings, w, g, state, t, rate)
    whole, parts = make(dtype=dtype), net
    whole.fit(X, y, optimizer=optimizer, epochs=5, batch_size=16, shuffle=False)
    parts.fit(X, y, optimizer=optimizer, epochs=2, batch_size=16, shuffle=False)
    for _ in range(3):
        parts = pickle.loads(pickle.dumps(parts))
        parts.partial_fit(X, y, optimizer=optimizer, batch_size=16, shuffle=False)
    assert_array_equal(parts.parameters, whole.parameters)
    tolerance = {"rtol": 1e-9, "atol": 1e-12} if dtype == "float64" else {"rtol": 1e-3, "atol": 1e-5}
    assert_allclose(whole.parameters, twin.parameters, **tolerance)


def test_a_constant_schedule_changes_no_bit(rng):
    X, y = data(rng)
    for rule in (SGD, Adam):
        plain, scheduled = make(), make()
        plain.fit(X, y, optimizer=rule(0.05), epochs=3)
        scheduled.fit(X, y, optimizer=rule(StepDecay(0.05, factor=1)), epochs=3)
        assert_array_equal(plain.parameters, scheduled.parameters)


def test_step_goes_through_the_schedule(rng):
    X, y = data(rng)
    for rule in (SGD, Adam):
        optimizer, own, built_in = rule(WarmUp(3, then=OneCycle(0.1, 10))), make(), make()
        for _ in range(8):
            own.step(own.value_and_gradient(X, y)[1], optimizer)
        built_in.fit(X, y, optimizer=optimizer, epochs=8, batch_size=50, shuffle=False)
        assert_allclose(own.parameters, built_in.parameters, rtol=1e-10)


@pytest.mark.parametrize("schedule", [StepDecay(0.1), ReduceOnPlateau(0.1), WarmUp(5, then=ReduceOnPlateau(0.1))])
def test_step_knows_no_epochs(schedule):
    net = make()
    before = pickle.dumps(net)
    with pytest.raises(ValueError, match="step knows no epochs: learning_rate must be"):
        net.step(np.ones_like(net.parameters), Adam(schedule))
    assert pickle.dumps(net) == before


@pytest.mark.parametrize("validated", [False, True])
def test_plateau_watches_the_loss(rng, validated):
    """Rates, seen through the updates of one bias that has a constant gradient."""
    X, y = data(rng)
    validation = (X, -y) if validated else None
    schedule = ReduceOnPlateau(0.05, factor=0.5, patience=1, threshold=0.05)
    net, memory, histories = make(), None, []
    for epoch in range(12):
        rate = schedule.rates([0], epoch, memory)[0]
        before = net.parameters.copy()
        gradient = net.value_and_gradient(X, y)[1]
        call = net.partial_fit if epoch else net.fit
        history = call(X, y, optimizer=SGD(schedule), batch_size=50, validation_data=validation)
        assert_allclose(net.parameters, before - rate * gradient, rtol=1e-9, atol=1e-12)
        histories.append((history.validation_loss if validated else history.loss)[0])
        memory = schedule.observe(memory, histories[-1])
    assert memory[0] >= 2
    again = make()
    history = again.fit(X, y, optimizer=SGD(schedule), epochs=12, batch_size=50, validation_data=validation)
    assert_allclose(history.validation_loss if validated else history.loss, histories, rtol=1e-12)


def test_a_failing_call_leaves_the_position(rng):
    X, y = data(rng)
    optimizer = SGD(WarmUp(2, then=ReduceOnPlateau(0.1)), momentum=0.9)
    net = make()
    net.fit(X, y, optimizer=optimizer, epochs=2)
    before = pickle.dumps(net)
    with pytest.raises(ZeroDivisionError):
        net.partial_fit(X, y, optimizer=optimizer, epochs=2, callback=lambda epoch, history: 1 / 0)
    assert pickle.dumps(net) == before


@pytest.mark.parametrize(
    ("make_schedule", "message"),
    [
        (lambda: SGD("fast"), "learning_rate must be a number in .* or a schedule, got 'fast'"),
        (lambda: Adam(OneCycle), "learning_rate must be a number in .* or a schedule"),
        (lambda: Adam(0), "learning_rate must be a number in .* or a schedule, got 0"),
        (lambda: SGD(np.nan), "learning_rate must be"),
        (lambda: SGD(np.inf), "learning_rate must be"),
        (lambda: StepDecay(-1), "initial must be"),
        (lambda: StepDecay(1, every=0), "every must be"),
        (lambda: StepDecay(1, factor=2), "factor must be"),
        (lambda: StepDecay(1, per="batch"), "per must be 'step' or 'epoch', got 'batch'"),
        (lambda: Exponential(1, 0), "factor must be"),
        (lambda: InverseScaling(1, -1), "power_t must be"),
        (lambda: Cyclical(2, 1, 5), "minimum must be at most maximum, got 2 and 1"),
        (lambda: Cyclical(1, 2, 0), "half_cycle must be"),
        (lambda: CosineWarmRestarts(1, 0), "t_0 must be"),
        (lambda: CosineWarmRestarts(1, 5, 1.5), "t_mult must be an integer of at least 1, got 1.5"),
        (lambda: CosineWarmRestarts(1, 5, minimum=2), "minimum must be at most maximum"),
        (lambda: OneCycle(1, 1), "total must be"),
        (lambda: OneCycle(1, 10, warm_up=1), "warm_up must be"),
        (lambda: OneCycle(1, 10, div=0.5), "div must be"),
        (lambda: OneCycle(1, 10, anneal="sine"), "anneal must be"),
        (lambda: ReduceOnPlateau(1, factor=1), "factor must be"),
        (lambda: ReduceOnPlateau(1, minimum=2), "minimum must be at most initial"),
        (lambda: WarmUp(0, then=1), "steps must be"),
        (lambda: WarmUp(5, then="x"), "then must be a number in .* or a schedule, got 'x'"),
        (lambda: WarmUp(5, then=1, start_factor=0), "start_factor must be"),
    ],
)
def test_bad_settings(make_schedule, message):
    with pytest.raises(ValueError, match=message):
        make_schedule()


def test_settings_are_immutable_and_readable():
    assert repr(Adam(StepDecay(0.1))) == "Adam(learning_rate=StepDecay(initial=0.1))"
    with pytest.raises(AttributeError):
        StepDecay(0.1).initial = 4


# ---- previews -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "schedule", [StepDecay(0.5, 0.3, every=2), OneCycle(0.1, 20), WarmUp(5, then=Exponential(0.2, 0.5)), WarmUp(3, 0.1)]
)
def test_previews_are_the_rates_of_training(schedule, rng):
    """A linear unit with L1 as its only cost moves by its rate in each step."""
    net = Network([Dense(1, l1=1.0)], n_inputs=1, random_state=0)
    net.parameters[:] = 50.0, 0.0
    weights = [50.0]
    X, y = np.zeros((12, 1)), np.zeros(12)
    for _ in range(4):
        net.partial_fit(X[:4], y[:4], optimizer=SGD(schedule), batch_size=4)
        weights.append(net.weights[0].item())
    rates = schedule.preview(4, steps_per_epoch=1)
    assert rates.dtype == np.float64
    assert_allclose(-np.diff(weights), rates, rtol=1e-9)
    net.parameters[:] = 50.0, 0.0
    net.fit(X, y, optimizer=SGD(schedule), batch_size=4, epochs=3)
    assert_allclose(50.0 - net.weights[0].item(), schedule.preview(9, steps_per_epoch=3).sum(), rtol=1e-9)


def test_previews_with_losses():
    stuck = ReduceOnPlateau(0.1, factor=0.5, patience=1)
    assert stuck.preview(10, steps_per_epoch=2, losses=[1.0] * 4).tolist() == [0.1] * 6 + [0.05] * 4
    assert stuck.preview(5).tolist() == [0.1] * 5
    with pytest.raises(ValueError, match="losses must be those of all epochs but the last, 4, got 3"):
        stuck.preview(10, steps_per_epoch=2, losses=[1.0] * 3)
    for name in ("n_steps", "steps_per_epoch"):
        with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1"):
            stuck.preview(**{"n_steps": 5, name: 0})


# ---- in the estimators ----------------------------------------------------------------------------------------------

X_iris, y_iris = load_iris(return_X_y=True)


def classifier(**settings):
    return MLPClassifier(8, batch_size=30, max_iter=6, random_state=0, **settings)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_estimators_follow_a_schedule(solver):
    schedule = WarmUp(8, then=StepDecay(0.02, 0.5, every=3))
    model = clone(classifier(solver=solver, learning_rate=schedule, learning_rate_init=77.0))
    assert model.get_params()["learning_rate"] == schedule
    model.fit(X_iris, y_iris)
    random_state, order = np.random.RandomState(0), np.arange(150)
    net, rule = model._new_model([8], 4, 3, "float64"), model._optimizer.rule
    draw(net, random_state)
    net.l2, t = model.alpha, 0
    for epoch in range(6):
        order = order[random_state.permutation(150)]
        for i in range(0, 150, 30):  # an epoch for each step, at the rate expected
            data = net.check_rows(X_iris, y_iris).data()
            rate = schedule.rates([t], epoch)[0]
            net.train_epoch(data, order[i : i + 30], 30, rule, learning_rate=rate, penalty_over_weight=True)
            t += 1
    assert_allclose(model.coefs_[0], net.weights[0], rtol=1e-12)
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.fit(X_iris, y_iris).coefs_[1], model.coefs_[1])
    plain = classifier(solver=solver, learning_rate_init=0.02).fit(X_iris, y_iris)
    constant = classifier(solver=solver, learning_rate=StepDecay(0.02, 1.0)).fit(X_iris, y_iris)
    assert_array_equal(plain.coefs_[0], constant.coefs_[0])


@pytest.mark.parametrize("early_stopping", [False, True])
def test_partial_fit_and_copies_go_on(early_stopping):
    """Epoch by epoch with copies between, as without."""
    schedule = WarmUp(7, then=ReduceOnPlateau(0.05, 0.5, patience=0, threshold=0.2))
    validation = {"X_val": X_iris[::3], "y_val": y_iris[::3]} if early_stopping else {}
    models = [
        classifier(learning_rate=schedule, early_stopping=early_stopping, shuffle=False, n_iter_no_change=50)
        for _ in range(2)
    ]
    for _ in range(12):
        for model in models:
            model.partial_fit(X_iris, y_iris, classes=[0, 1, 2], **validation)
        models[1] = pickle.loads(pickle.dumps(models[1]))
    assert_array_equal(models[0].coefs_[0], models[1].coefs_[0])
    memory = None
    for loss in models[0].validation_loss_curve_ if early_stopping else models[0].loss_curve_:
        memory = schedule.observe(memory, loss)
    assert models[0]._model().optimizer_state.memory == memory
    assert memory[0] > 0


def test_a_failed_fit_of_an_estimator_leaves_the_position():
    model = classifier(learning_rate=WarmUp(7, then=ReduceOnPlateau(0.05)))
    model.partial_fit(X_iris, y_iris, classes=[0, 1, 2])
    before = pickle.dumps(model)
    with pytest.raises(ValueError, match="NaN"):
        model.partial_fit(X_iris * np.nan, y_iris)
    assert pickle.dumps(model) == before


def test_grid_search_over_schedules():
    grid = {"learning_rate": ["constant", OneCycle(0.05, 24), Cyclical(0.001, 0.01, 10)], "solver": ["sgd", "adam"]}
    with pytest.warns(ConvergenceWarning):
        search = GridSearchCV(classifier(), grid, cv=2).fit(X_iris, y_iris)
    assert search.best_params_["learning_rate"] == OneCycle(0.05, 24)


@pytest.mark.parametrize("learning_rate", ["fast", 0.1, OneCycle])
@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])
def test_bad_learning_rate_of_an_estimator(estimator, learning_rate):
    with pytest.raises(ValueError, match="The 'learning_rate' parameter .* must be .*'constant'.*Schedule"):
        estimator(learning_rate=learning_rate).fit(X_iris, y_iris)
