"""What displays draw with matplotlib."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import MLPClassifier as SklearnClassifier

import fastbp
from fastbp import Dense, MLPClassifier, MLPRegressor, Network, OneCycle, ReduceOnPlateau
from fastbp.display import LossCurveDisplay, ScheduleDisplay, WeightsDisplay


@pytest.fixture(scope="module", autouse=True)
def pyplot():
    pytest.importorskip("matplotlib").use("agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


@pytest.fixture
def iris():
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 4)), rng.integers(0, 3, 60)


# ---- losses ---------------------------------------------------------------------------------------------------------


def test_losses_of_estimators(iris, pyplot):
    clf = MLPClassifier((3,), early_stopping=True, max_iter=5, tol=1e9, n_iter_no_change=3, random_state=0).fit(*iris)
    axes = pyplot.figure().subplots()
    display = LossCurveDisplay.from_estimator(clf, ax=axes, linewidth=3)
    assert display.ax_ is axes and display.figure_ is axes.figure
    training, validation = display.lines_
    assert_array_equal(training.get_ydata(), clf.loss_curve_)
    assert_array_equal(training.get_xdata(), np.arange(1, clf.n_iter_ + 1))
    assert_array_equal(validation.get_ydata(), clf.validation_loss_curve_)
    assert training.get_linewidth() == validation.get_linewidth() == 3
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["training", "validation"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "loss")


@pytest.mark.parametrize("n_epochs", [1, 3])
def test_ticks_are_whole_epochs(n_epochs):
    ticks = LossCurveDisplay(loss=np.linspace(1, 0.5, n_epochs)).plot().ax_.get_xticks()
    assert_array_equal(ticks, np.round(ticks))


def test_losses_of_others(iris):
    theirs = SklearnClassifier((3,), max_iter=5, tol=1e9, n_iter_no_change=3, random_state=0).fit(*iris)
    (line,) = LossCurveDisplay.from_estimator(theirs).lines_
    assert_array_equal(line.get_ydata(), theirs.loss_curve_)
    with pytest.raises(NotFittedError):
        LossCurveDisplay.from_estimator(MLPRegressor())
    lbfgs = SklearnClassifier((3,), solver="lbfgs", random_state=0).fit(*iris)
    with pytest.raises(ValueError, match="estimator must have a loss_curve_, got MLPClassifier"):
        LossCurveDisplay.from_estimator(lbfgs)


# ---- learning rates -------------------------------------------------------------------------------------------------


def test_rates():
    schedule = OneCycle(0.1, total=30)
    display = ScheduleDisplay.from_schedule(schedule, 40, color="green")
    assert_array_equal(display.line_.get_ydata(), schedule.preview(40))
    assert_array_equal(display.rates, schedule.preview(40))
    assert display.line_.get_color() == "green" and display.ax_.get_ylabel() == "learning rate"
    stuck, losses = ReduceOnPlateau(0.1, patience=1), [1.0] * 9
    display = ScheduleDisplay.from_schedule(stuck, 20, steps_per_epoch=2, losses=losses, ax=display.ax_)
    assert_array_equal(display.rates, stuck.preview(20, steps_per_epoch=2, losses=losses))
    assert len(display.ax_.lines) == 2
    with pytest.raises(TypeError, match="schedule must be a schedule such as OneCycle, got 0.1"):
        ScheduleDisplay.from_schedule(0.1, 20)


# ---- weights --------------------------------------------------------------------------------------------------------


def test_matrix():
    net = Network([Dense(5), Dense(3)], n_inputs=4, random_state=0)
    display = WeightsDisplay.from_network(net, layer=1)
    assert_array_equal(display.image_.get_array(), net.weights[1])
    low, high = display.image_.get_clim()
    assert -low == high == np.abs(net.weights[1]).max()
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("unit", "input")
    assert WeightsDisplay.from_network(net, -1, vmax=7, cmap="gray").image_.get_clim()[1] == 7


@pytest.mark.parametrize("n_units, image_shape", [(1, (2, 3)), (5, (2, 3)), (7, (6, 1)), (4, (1, 6))])
def test_images_of_units(n_units, image_shape):
    """Each is somewhere, whole and once, in the order of reading."""
    weights = np.arange(6.0 * n_units).reshape(6, n_units)
    shown = np.ma.filled(WeightsDisplay(weights=weights, image_shape=image_shape).plot().image_.get_array(), np.nan)
    height, width = image_shape
    corners = [
        (y, x)
        for y in range(0, shown.shape[0], height + 1)
        for x in range(0, shown.shape[1], width + 1)
    ][:n_units]
    for unit, (y, x) in enumerate(corners):
        assert_array_equal(shown[y : y + height, x : x + width].ravel(), weights[:, unit])
    assert np.isfinite(shown).sum() == weights.size


def test_weights_of_estimators(iris):
    clf = MLPClassifier((3,), max_iter=5, tol=1e9, n_iter_no_change=3, random_state=0).fit(*iris)
    display = WeightsDisplay.from_estimator(clf, image_shape=(2, 2))
    assert_array_equal(display.weights, clf.coefs_[0])
    with pytest.raises(NotFittedError):
        WeightsDisplay.from_estimator(MLPClassifier())
    for layer in (2, -3, "0"):
        with pytest.raises(ValueError, match="layer must be an integer below the number of layers, 2, got"):
            WeightsDisplay.from_estimator(clf, layer)


def test_bad_weights():
    for shape in ((3,), (0, 2)):
        with pytest.raises(ValueError, match=r"weights must have shape \(n_in, n_units\), got"):
            WeightsDisplay(weights=np.zeros(shape))
    with pytest.raises(ValueError, match=r"image_shape must be of as many pixels as the weights have inputs, 6, got"):
        WeightsDisplay(weights=np.zeros((6, 2)), image_shape=(2, 2))
    with pytest.raises(ValueError, match=r"image_shape must be a tuple \(height, width\), got 6"):
        WeightsDisplay(weights=np.zeros((6, 2)), image_shape=6)


def test_constant_weights():
    net = Network([Dense(2)], n_inputs=3, initializer="zeros")
    assert not np.asarray(WeightsDisplay.from_network(net).image_.get_array()).any()
    assert fastbp.display.WeightsDisplay is WeightsDisplay


def test_what_is_drawn_is_of_the_class_that_the_method_names():
    net = Network([Dense(2)], n_inputs=3)
    with pytest.raises(TypeError, match="network must be a Network, got MLPRegressor"):
        WeightsDisplay.from_network(MLPRegressor())
    with pytest.raises(TypeError, match="history must be a History, got Network"):
        LossCurveDisplay.from_history(net)
    for display in (WeightsDisplay, LossCurveDisplay):
        with pytest.raises(TypeError, match="estimator must be a BaseEstimator, got Network"):
            display.from_estimator(net)
