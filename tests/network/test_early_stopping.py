"""What follows early stopping: training on all data, from the start or on from the best parameters."""

import copy

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from fastbp import LBFGS, SGD, Adam, Dense, Network


@pytest.fixture
def noisy(rng):
    """Targets with so much noise that the validation loss has its minimum early on: 60 rows and 25."""
    X = rng.normal(size=(85, 8))
    y = X[:, :2] @ rng.normal(size=(2, 2)) + 2 * rng.normal(size=(85, 2))
    return (X[:60], y[:60]), (X[60:], y[60:])


def make(**settings):
    return Network([Dense(40, "tanh"), Dense(2)], n_inputs=8, random_state=0, **settings)


@pytest.mark.parametrize("optimizer", [SGD(0.05, momentum=0.9), Adam(0.02)])
@pytest.mark.parametrize("weighted", [False, True])
def test_retrain(noisy, optimizer, weighted):
    """As many steps as the best epoch had made, from the same start, the rows of both sets in turn."""
    (X, y), (X_val, y_val) = noisy
    weight = np.linspace(0.5, 1.5, 60) if weighted else None
    settings = {"optimizer": optimizer, "epochs": 100, "batch_size": 10, "shuffle": False, "sample_weight": weight}
    net, first, expected = make(), make(), make()
    calls = []
    history = net.fit(
        X, y, validation_data=(X_val, y_val), early_stopping=5, then="retrain",
        callback=lambda epoch, history: calls.append(epoch), **settings,
    )  # fmt: skip
    plain = first.fit(X, y, validation_data=(X_val, y_val), early_stopping=5, **settings)
    assert plain.second is None
    assert_array_equal(history.validation_loss, plain.validation_loss)
    n_steps = 6 * (plain.validation_loss.argmin() + 1)  # of 10 rows each; all 85 rows are 9 steps
    assert 9 < n_steps < 6 * len(plain.loss)
    all_weights = None if weight is None else np.concatenate([weight, np.ones(25)])
    data = expected._model.check_rows(np.concatenate([X, X_val]), np.concatenate([y, y_val]), all_weights).data()
    for _ in range(n_steps // 9):
        expected._model.train_epoch(data, None, 10, optimizer)
    if n_steps % 9:
        expected._model.train_epoch(data, np.arange(n_steps % 9 * 10), 10, optimizer)
    assert_array_equal(net.parameters, expected.parameters)
    assert len(history.second.loss) == len(history.second.seconds) == -(-n_steps // 9)
    assert history.second.validation_loss.size == 0
    assert calls == [*range(len(history.loss)), *range(len(history.second.loss))]


@pytest.mark.parametrize("optimizer", [SGD(0.01, momentum=0.9), LBFGS()])
def test_continue(noisy, optimizer):
    """On from the best parameters and state until the cost of all data, at the parameters after an epoch, is below that
    of the training data at the best parameters; penalties count in both."""
    (X, y), (X_val, y_val) = noisy
    y_val = y_val + 2  # harder than the training data
    settings = {"optimizer": optimizer} if optimizer == LBFGS() else {
        "optimizer": optimizer, "batch_size": 10, "shuffle": False
    }  # fmt: skip
    net, expected, costs = make(l2=0.01), make(l2=0.01), []
    both = np.concatenate([X, X_val]), np.concatenate([y, y_val])
    history = net.fit(
        X, y, validation_data=(X_val, y_val), early_stopping=5, epochs=300, then="continue",
        callback=lambda epoch, _: costs.append(net.value_and_gradient(*both, penalty=True)[0]), **settings,
    )  # fmt: skip
    best = history.validation_loss.argmin()
    costs = costs[len(history.loss) :]
    assert best > 0 and len(costs) == len(history.second.loss) > 1
    expected.fit(X, y, epochs=best + 1, **settings)
    bound = expected.value_and_gradient(X, y, penalty=True)[0]
    assert min(costs[:-1]) >= bound > costs[-1]
    expected.partial_fit(*both, epochs=len(costs), **settings)
    assert_array_equal(net.parameters, expected.parameters)


def test_continue_compares_costs_without_what_is_random(noisy):
    """Dropout makes the mean training loss of an epoch larger than the cost, which alone tells when to end."""
    (X, y), validation = noisy
    net = Network([Dense(40, "tanh", dropout=0.5), Dense(2)], n_inputs=8, random_state=0)
    history = net.fit(
        X, y, validation_data=validation, early_stopping=5, epochs=400, optimizer=Adam(0.005), then="continue"
    )
    assert len(history.second.loss) < 400
    both = map(np.concatenate, zip((X, y), validation, strict=True))
    assert net.value_and_gradient(*both)[0] < history.second.loss[-1]


@pytest.mark.parametrize("shuffle", [False, True])
def test_retrain_counts_updates(noisy, shuffle):
    """A batch without weight makes no update and counts for nothing, in either training."""
    (X, y), (X_val, y_val) = noisy
    weight = (np.arange(60) % 6 == 0) * 1.0 if shuffle else np.r_[np.zeros(20), np.ones(40)]
    settings = {"optimizer": Adam(0.02), "epochs": 100, "batch_size": 5, "shuffle": shuffle, "sample_weight": weight}
    net, plain, steps = make(), make(), []
    history = net.fit(
        X, y, validation_data=(X_val, y_val), early_stopping=5, then="retrain",
        callback=lambda epoch, history: steps.append(int(net._model.optimizer_state.t[0])), **settings,
    )  # fmt: skip
    plain.fit(X, y, validation_data=(X_val, y_val), early_stopping=5, **settings)
    n_steps = steps[history.validation_loss.argmin()]
    assert steps[-1] == n_steps
    if not shuffle:  # 12 batches of 5 rows, of which 8 have weight; of all rows 17, of which 13 have
        assert n_steps == 8 * (history.validation_loss.argmin() + 1)
        expected, order = make(), np.arange(85)
        all_weights = np.r_[weight, np.ones(25)]
        data = expected._model.check_rows(np.concatenate([X, X_val]), np.concatenate([y, y_val]), all_weights).data()
        for _ in range(n_steps // 13):
            expected._model.train_epoch(data, None, 5, settings["optimizer"])
        if n_steps % 13:
            expected._model.train_epoch(data, order[: 5 * (4 + n_steps % 13)], 5, settings["optimizer"])
        assert_array_equal(net.parameters, expected.parameters)


@pytest.mark.parametrize("then", [None, "retrain", "continue"])
def test_no_finite_validation_loss_is_a_warning(noisy, then):
    (X, y), (X_val, y_val) = noisy
    net, plain = make(), make()
    with pytest.warns(ConvergenceWarning, match="no epoch had a finite validation loss") as record:
        history = net.fit(X, y, validation_data=(X_val, y_val * 1e200), early_stopping=3, epochs=20, then=then)
    assert record[0].filename == __file__
    assert ("then='" in str(record[0].message)) == (then is not None)
    plain.fit(X, y, epochs=len(history.loss))
    assert len(history.loss) == 3 and history.second is None
    assert_array_equal(net.parameters, plain.parameters)


def test_continue_ends_at_the_latest_after_as_many_epochs(noisy):
    (X, y), (X_val, y_val) = noisy
    history = make().fit(
        X, y, validation_data=(X_val, y_val + 100), early_stopping=5, epochs=20, optimizer=SGD(1e-4), then="continue"
    )
    assert len(history.second.loss) == 20 and history.second.loss.min() > history.loss.min()


def test_full_batch_rules_partial_fit_and_shuffling(noisy):
    (X, y), (X_val, y_val) = noisy
    net = make()
    settings = {"validation_data": (X_val, y_val), "early_stopping": 3, "epochs": 50}
    history = net.fit(X, y, optimizer=LBFGS(), then="retrain", **settings)
    assert len(history.second.loss) == history.validation_loss.argmin() + 1
    net, again = make(), make()
    for n in (net, again):
        n.fit(X, y, optimizer=Adam(0.02), epochs=1)
        n.partial_fit(X, y, optimizer=Adam(0.02), then="retrain", **settings)
    assert_array_equal(net.parameters, again.parameters)


def test_sparse_labels_and_mixed_arrays(noisy):
    """Joined as one: CSR and dense X, class indices, one column of y or a vector."""
    (X, y), (X_val, y_val) = noisy
    nets = []
    for a, b in ((X, X_val), (sparse.csr_array(X), sparse.csr_array(X_val)), (sparse.csr_array(X), X_val)):
        net = Network([Dense(6, "tanh"), Dense(3)], n_inputs=8, loss="softmax_cross_entropy", random_state=0)
        labels, labels_val = (y[:, 0] > 0).astype(int), (y_val[:, 0] > 0).astype(int)
        net.fit(a, labels, validation_data=(b, labels_val), early_stopping=2, epochs=30, then="retrain")
        nets.append(net)
    for net in nets[1:]:
        assert_allclose(net.parameters, nets[0].parameters, rtol=1e-9)
    net = Network([Dense(1)], n_inputs=8)
    net.fit(X, y[:, 0], validation_data=(X_val, y_val[:, :1]), early_stopping=2, epochs=5, then="continue")


def test_a_callback_ends_all_of_it_and_bad_arguments(noisy):
    (X, y), validation = noisy
    net = make()
    history = net.fit(
        X, y, validation_data=validation, early_stopping=5, epochs=9, then="retrain",
        callback=lambda epoch, _: epoch == 2,
    )  # fmt: skip
    assert len(history.loss) == 3 and history.second is None
    before = copy.deepcopy(net)
    with pytest.raises(ValueError, match="then must be"):
        net.fit(X, y, validation_data=validation, early_stopping=5, then="stop")
    with pytest.raises(ValueError, match="then='retrain' needs early_stopping"):
        net.fit(X, y, validation_data=validation, then="retrain")
    bad = validation[0].copy()
    bad[3, 3] = np.nan
    with pytest.raises(ValueError, match="validation_data"):
        net.fit(X, y, validation_data=(bad, validation[1]), early_stopping=5, then="retrain")
    assert_array_equal(net.parameters, before.parameters)
    net = Network([Dense(3)], n_inputs=8, loss="softmax_cross_entropy")
    probabilities = np.ones((25, 3)) / 3
    with pytest.raises(ValueError, match="a y like y"):
        net.fit(
            X, np.zeros(60, int), validation_data=(validation[0], probabilities), early_stopping=5, then="retrain"
        )
