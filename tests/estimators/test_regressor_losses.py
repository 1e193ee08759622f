"""Activations for both, and losses of regressors."""

import pickle

import numpy as np
import pytest
from estimator_cases import X_iris, X_reg, assert_unharmed, classifier, parameters_in_order, regressor, y_iris, y_reg
from sklearn.base import clone
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score

from fastbp import ELU, LBFGS, Dense, HistogramLoss, Huber, LeakyReLU, Lp, Network, Quantile

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("activation", ["hard_tanh", "elu", "gelu", "softmax", LeakyReLU(0.2), ELU(0.5)], ids=str)
def test_new_activations(activation, solver):
    """They are those of a Network with the same parameters, and survive cloning and pickling."""
    for make, y in ((classifier, y_iris), (regressor, X_iris[:, 0])):
        estimator = make(activation=activation, solver=solver).fit(X_iris, y)
        net = Network([Dense(8, activation), Dense(estimator.n_outputs_)], n_inputs=4)
        net.parameters[:] = parameters_in_order(estimator)
        outputs = net.predict(X_iris)
        expected = outputs.argmax(axis=1) if make is classifier else outputs[:, 0]
        for again in (estimator, pickle.loads(pickle.dumps(estimator)), clone(estimator).fit(X_iris, y)):
            assert again.get_params()["activation"] == activation
            np.testing.assert_array_equal(again.predict(X_iris), expected)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("loss", ["absolute_error", "huber", Huber(0.5), Lp(3), "quantile", Quantile(0.9)], ids=str)
def test_new_losses(loss, solver):
    """The reported loss is the cost, summed over outputs, and training reduces it."""
    Y = np.column_stack([y_reg, -y_reg])
    settings = {"loss": loss, "solver": solver, "alpha": 0, "learning_rate_init": 0.01, "shuffle": False}
    reg = regressor(**settings, max_iter=40, batch_size=len(Y)).fit(X_reg, Y)
    net = Network([Dense(8, "relu"), Dense(2)], n_inputs=X_reg.shape[1], loss=loss, random_state=0)
    start, _ = net.value_and_gradient(X_reg, Y)
    if solver != "lbfgs":
        np.testing.assert_allclose(reg.loss_curve_[0], start)
    net.parameters[:] = parameters_in_order(reg)
    cost, _ = net.value_and_gradient(X_reg, Y)
    assert cost < 0.95 * start
    if solver == "lbfgs":
        np.testing.assert_allclose(reg.loss_, cost)
    again = pickle.loads(pickle.dumps(clone(reg))).fit(X_reg, Y)
    np.testing.assert_array_equal(again.predict(X_reg), reg.predict(X_reg))


def test_quantile_covers_its_share():
    reg = regressor(loss=Quantile(0.9), solver="adam", max_iter=400, learning_rate_init=0.01, tol=0)
    assert abs((y_reg <= reg.fit(X_reg, y_reg).predict(X_reg)).mean() - 0.9) < 0.05


def pinball(y, predictions, q, weight=None):
    """D^2 of the pinball loss: one of the constants in y is the best."""

    def loss(errors):
        return np.average(np.maximum(q * errors, (q - 1) * errors), weights=weight, axis=-1)

    return 1 - loss(y - predictions) / loss(y - y[:, np.newaxis]).min()


def test_several_quantiles():
    """They are those of a network; their score is the mean D^2, which early stopping watches too."""
    levels, Y = [0.1, 0.5, 0.9], np.column_stack([y_reg, X_reg[:, 0] ** 2])
    settings = {"loss": Quantile(levels), "max_iter": 200, "learning_rate_init": 0.01}
    reg = regressor(**settings, early_stopping=True, n_iter_no_change=np.inf)
    reg.fit(X_reg, y_reg, X_val=X_reg[::2], y_val=y_reg[::2], sample_weight_val=np.ones(100))
    predictions = reg.predict(X_reg)
    assert predictions.shape == (200, 3) and reg.n_outputs_ == 3 and reg.out_activation_ == "identity"
    np.testing.assert_allclose([(y_reg <= p).mean() for p in predictions.T], levels, atol=0.15)
    expected = np.mean([pinball(y_reg, p, q) for p, q in zip(predictions.T, levels, strict=True)])
    np.testing.assert_allclose(reg.score(X_reg, y_reg), expected)
    assert expected > 0.5
    np.testing.assert_allclose(reg.score(X_reg[::2], y_reg[::2]), max(reg.validation_scores_))
    weight = np.random.default_rng(0).integers(1, 4, 200)
    expected = np.mean([pinball(y_reg, p, q, weight) for p, q in zip(predictions.T, levels, strict=True)])
    np.testing.assert_allclose(reg.score(X_reg, y_reg, weight), expected)

    reg = regressor(**settings).fit(X_reg, Y)
    predictions = reg.predict(X_reg)
    assert predictions.shape == (200, 2, 3) and reg.n_outputs_ == 6
    net = Network([Dense(8, "relu"), Dense(6)], n_inputs=10, loss=Quantile(levels))
    net.parameters[:] = parameters_in_order(reg)
    outputs = net.predict(X_reg).reshape(200, 3, 2)
    np.testing.assert_array_equal(predictions, outputs.transpose(0, 2, 1))
    parts = [pinball(Y[:, t], predictions[:, t, i], q) for t in range(2) for i, q in enumerate(levels)]
    np.testing.assert_allclose(reg.score(X_reg, Y), np.mean(parts))
    one = regressor(loss=Quantile([0.3])).fit(X_reg, y_reg)
    assert one.predict(X_reg).shape == (200,)
    assert one.score(X_reg, y_reg) == r2_score(y_reg, one.predict(X_reg))
    scores = cross_val_score(regressor(**settings), X_reg, Y, cv=3)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("solver", ["adam", LBFGS()], ids=str)
def test_gaussian_knows_how_sure_it_is(solver):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (1000, 1))
    deviation = np.exp(X) / 5
    Y = np.hstack([X + deviation * rng.normal(size=X.shape), -X + rng.normal(size=X.shape)])
    reg = regressor(loss="gaussian", solver=solver, max_iter=300, learning_rate_init=0.01, activation="tanh")
    mean, std = reg.fit(X, Y).predict(X, return_std=True)
    assert mean.shape == std.shape == (1000, 2) and reg.n_outputs_ == 4
    np.testing.assert_array_equal(mean, reg.predict(X))
    assert np.abs(mean - np.hstack([X, -X])).mean() < 0.1
    assert np.abs(np.log(std / np.hstack([deviation, np.ones_like(X)]))).mean() < 0.15
    assert reg.score(X, Y) == r2_score(Y, mean)
    # The cost is minus the logarithm of the normal density.
    reg.fit(X, Y[:, 0])
    mean, std = reg.predict(X, return_std=True)
    assert mean.shape == std.shape == (1000,)
    cost = np.mean((Y[:, 0] - mean) ** 2 / (2 * std**2) + np.log(std) + np.log(2 * np.pi) / 2)
    reg.set_params(warm_start=True, max_iter=1, alpha=0, solver="sgd", batch_size=1000, learning_rate_init=1e-300)
    np.testing.assert_allclose(reg.fit(X, Y[:, 0]).loss_curve_[-1], cost)
    for again in (clone(reg).fit(X, Y[:, 0]), pickle.loads(pickle.dumps(reg))):
        assert again.predict(X, return_std=True)[1].shape == (1000,)
    with pytest.raises(ValueError, match="return_std=True needs loss='gaussian', got 'squared_error'"):
        regressor().fit(X_reg, y_reg).predict(X_reg, return_std=True)


@pytest.mark.parametrize("sigma", [0, 0.2])
def test_histogram_loss_predicts_means(sigma):
    loss = HistogramLoss(np.linspace(-4, 4, 21), sigma)
    reg = regressor(loss=loss, max_iter=300, learning_rate_init=0.02, early_stopping=True, validation_fraction=0.2)
    reg.fit(X_reg, y_reg)
    assert reg.n_outputs_ == 20 and reg.out_activation_ == "softmax"
    net = Network([Dense(8, "relu"), Dense(20)], n_inputs=10, loss=loss)
    net.parameters[:] = parameters_in_order(reg)
    again = pickle.loads(pickle.dumps(reg)).set_params(loss="squared_error")  # fitted it remains
    for model in (reg, again):
        np.testing.assert_array_equal(model.predict(X_reg), net.predict(X_reg)[:, 0])
    assert reg.score(X_reg, y_reg) == r2_score(y_reg, reg.predict(X_reg)) > 0.7
    assert clone(reg).fit(X_reg, y_reg).validation_scores_ == reg.validation_scores_
    assert_unharmed(reg, lambda: reg.fit(X_reg, 10 * y_reg), "y must lie between the outer edges -4.0 and 4.0")
    assert_unharmed(reg, lambda: reg.fit(X_reg, X_reg), r"y must have shape \(200,\) for HistogramLoss")
    call = lambda: reg.fit(X_reg, y_reg, X_val=X_reg, y_val=9 + y_reg)  # noqa: E731
    assert_unharmed(reg, call, "y_val.*y must lie between the outer edges")


def test_changed_loss_counts():
    reg = regressor().partial_fit(X_reg, y_reg).set_params(loss="absolute_error")
    net = Network([Dense(8, "relu"), Dense(1)], n_inputs=X_reg.shape[1], loss="absolute_error", l2=0)
    net.parameters[:] = parameters_in_order(reg)
    cost, _ = net.value_and_gradient(X_reg, y_reg)
    reg.set_params(alpha=0, batch_size=len(y_reg)).partial_fit(X_reg, y_reg)
    np.testing.assert_allclose(reg.loss_, cost)


def test_grid_search_over_activations_and_losses():
    grid = {"activation": ["relu", LeakyReLU(0.1), ELU()], "loss": ["squared_error", Huber(0.5)]}
    search = GridSearchCV(regressor(solver="lbfgs"), grid, cv=2).fit(X_reg, y_reg)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
