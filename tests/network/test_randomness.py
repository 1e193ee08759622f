"""What is random in training: dropout, noise, distorted images."""

import copy

import numpy as np
import pytest
import reference
from network_cases import one_step
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

import fastbp
from fastbp import SGD, Adam, Dense, ImageAugmentation, MLPClassifier, MLPRegressor, Network
from fastbp.graph.reference import losses
from fastbp.losses import kernel_of

pytestmark = pytest.mark.once


def data(rng, n=50, n_in=6, n_out=3):
    return rng.normal(size=(n, n_in)), rng.integers(0, n_out, n)


def make(dropout=0.4, activation="tanh", seed=0, **settings):
    layers = [Dense(20, activation, dropout=dropout), Dense(9, activation, dropout=dropout / 2), Dense(3)]
    return Network(layers, n_inputs=6, loss="softmax_cross_entropy", random_state=seed, **settings)


# ---- dropout ------------------------------------------------------------------------------------------------------


def central_differences(net, X, y, step=1e-6):
    gradient = np.empty_like(net.parameters)
    for i, p in enumerate(net.parameters.copy()):
        net.parameters[i] = p + step
        above, _ = one_step(net, X, y)
        net.parameters[i] = p - step
        gradient[i] = (above - one_step(net, X, y)[0]) / (2 * step)
        net.parameters[i] = p
    return gradient


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu", "hard_tanh", "gelu", "elu", "softmax"])
def test_gradient_with_dropout_by_central_differences(rng, activation):
    net = make(activation=activation, l1=0.01, l2=0.1, input_dropout=0.3)
    X, y = data(rng)
    cost, gradient = one_step(net, X, y)
    assert cost != one_step(net, X, y, seed=4)[0]
    numeric = central_differences(net, X, y)
    assert np.linalg.norm(gradient - numeric) < 1e-6 * np.linalg.norm(numeric)


def test_masks_are_those_of_the_reference(rng):
    """The cost of the second step, with masks made by NumPy."""
    net = make(input_dropout=0.3)
    X, y = data(rng)
    seed = np.random.RandomState(5).randint(2**32, size=2, dtype=np.uint32)
    parameters = net.parameters.copy()
    record, _ = net._model.train_epoch(
        net._model.check_rows(X, y).data(), None, 30, SGD(1e-300), random_state=np.random.RandomState(5)
    )
    assert_array_equal(net.parameters, parameters)
    H, rows = X[30:], np.arange(20)
    H = H * reference.dropout_mask(seed, 1, rows, 0, 6, 0.3)
    for i, (W, b, rate) in enumerate(zip(net.weights, net.biases, (0.4, 0.2, 0.0), strict=True), start=1):
        H = H @ W + b
        if i < 3:
            H = np.tanh(H) * reference.dropout_mask(seed, 1, rows, i, W.shape[1], rate)
    expected = losses(kernel_of("softmax_cross_entropy"), H, reference.one_hot(y[30:], 3)).mean()
    assert_allclose(record[1, 0], expected, rtol=1e-12)


def test_prediction_is_the_mean_over_masks(rng):
    """One layer after the dropout, and no unit that bends: the mean over masks is what predict returns."""
    net = Network(
        [Dense(30, "tanh", dropout=0.5), Dense(1)], n_inputs=6, input_dropout=0.0, loss="squared_error", random_state=0
    )
    X, _ = data(rng, 1)
    a = net.predict(X)[0, 0]
    rows = np.repeat(X, 20000, axis=0)
    # of squared errors with y = 0 and y = 1: 1/2 z^2 - 1/2 (1 - z)^2 = z - 1/2
    zero, one = (one_step(net, rows, np.full(len(rows), y), batch_size=len(rows))[0] for y in (0.0, 1.0))
    mean, deviation = zero - one + 0.5, np.sqrt(2 * zero - (zero - one + 0.5) ** 2)
    assert deviation > 0.05
    assert abs(mean - a) < 4.5 * deviation / np.sqrt(len(rows))


def test_only_training_drops(rng):
    X, y = data(rng)
    net, plain = make(0.5, input_dropout=0.5), make(0.0)
    plain.parameters[:] = net.parameters
    assert_array_equal(net.predict(X), plain.predict(X))
    assert_array_equal(net.forward(X), plain.forward(X))
    for a, b in zip(net.value_and_gradient(X, y), plain.value_and_gradient(X, y), strict=True):
        assert_array_equal(a, b)
    history = net.fit(X, y, optimizer=SGD(1e-300), validation_data=(X, y))
    assert history.validation_loss[0] == plain.value_and_gradient(X, y)[0] != history.loss[0]


@pytest.mark.parametrize("sizes", [[120, 100, 100, 10], [300, 500, 400, 7]])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_same_bits_for_any_number_of_threads(rng, sizes, dtype):
    X = rng.integers(0, 255, size=(470, sizes[0])).astype(dtype)
    y = rng.integers(0, sizes[-1], 470)
    results = []
    for n_threads in (1, 2, 3):
        layers = [*(Dense(n, "relu", dropout=0.3) for n in sizes[1:-1]), Dense(sizes[-1])]
        net = Network(
            layers, n_inputs=sizes[0], loss="softmax_cross_entropy", dtype="float32", random_state=0, input_dropout=0.2,
            input_noise=0.1,
        )  # fmt: skip
        images = ImageAugmentation((10, sizes[0] // 10), rotation=20, elastic_alpha=10)
        net.fit(X, y, optimizer=Adam(), epochs=2, batch_size=150, n_threads=n_threads, augmentation=images)
        results.append(net.parameters)
    assert_array_equal(results[0], results[1])
    assert_array_equal(results[0], results[2])


def test_a_batch_of_many_chunks_has_the_masks_of_one(rng, monkeypatch):
    """The row of a batch counts, whatever the chunks that a large batch is worked on in."""
    X, y = rng.normal(size=(70000, 6)), rng.integers(0, 3, 70000)
    net = Network(
        [Dense(40, "tanh", dropout=0.4), Dense(3)], n_inputs=6, loss="softmax_cross_entropy", random_state=0
    )
    assert net.program(batch_size=70000).chunk < 10000
    cost, gradient = one_step(net, X, y, batch_size=70000)
    seed = np.random.RandomState(3).randint(2**32, size=2, dtype=np.uint32)
    H = np.tanh(X @ net.weights[0] + net.biases[0]) * reference.dropout_mask(seed, 0, np.arange(70000), 1, 40, 0.4)
    Z = H @ net.weights[1] + net.biases[1]
    expected = losses(kernel_of("softmax_cross_entropy"), Z, reference.one_hot(y, 3)).mean()
    assert_allclose(cost, expected, rtol=1e-10)


def test_masks_change_from_step_to_step_and_fit_repeats(rng):
    X, y = data(rng)
    net = make(0.5)
    again = copy.deepcopy(net)
    losses = net.fit(X, y, optimizer=SGD(1e-300), epochs=4, batch_size=50, shuffle=False).loss
    assert len(set(losses)) == 4
    assert_array_equal(again.fit(X, y, optimizer=SGD(1e-300), epochs=4, batch_size=50, shuffle=False).loss, losses)
    # the same seed in each call of an estimator's partial_fit, but other steps
    clf = MLPClassifier(20, dropout=0.5, random_state=0, learning_rate_init=1e-12, shuffle=False)
    losses = [clf.partial_fit(X, y, classes=range(3)).loss_ for _ in range(3)]
    assert np.ptp(losses) > 1e-4


def test_random_settings_are_kept_and_checked(rng, tmp_path):
    net = make(0.5, input_dropout=0.25, input_noise=0.5)
    net.save(tmp_path / "net")
    again = Network.load(tmp_path / "net")
    assert repr(again) == repr(net)
    assert (again.input_dropout, again.input_noise, again.layers[0].dropout) == (0.25, 0.5, 0.5)
    X, y = data(rng)
    before = net.parameters.copy()
    for bad in (1, -0.1, np.nan, "0.5", True):
        with pytest.raises(ValueError, match="dropout must be a number"):
            Dense(3, dropout=bad)
        with pytest.raises(ValueError, match="input_dropout must be a number"):
            make(input_dropout=bad)
    with pytest.raises(ValueError, match="input_noise must be"):
        make(input_noise=-0.1)
    with pytest.raises(ValueError, match=r"layers\[0\] must have dropout=0 as an output layer"):
        Network([Dense(3, dropout=0.5)], n_inputs=2)
    with pytest.raises(ValueError, match="mini-batches with input_dropout=0.25"):
        net.fit(X, y, optimizer=fastbp.LBFGS())
    with pytest.raises(ValueError, match="X must be dense"):
        net.fit(sparse.csr_array(X), y)
    assert_array_equal(net.parameters, before)
    make(0.5).fit(sparse.csr_array(X), y)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_estimators(rng):
    X, y = data(rng, 200)
    for estimator, target in ((MLPClassifier, y), (MLPRegressor, X[:, 0])):
        results = [
            estimator(hidden_layer_sizes=(20, 10), max_iter=3, random_state=0, dropout=p).fit(X, target).loss_curve_
            for p in (0.0, 0.4, [0.4, 0.4], (0.4, 0.0))
        ]
        assert results[1] == results[2]
        assert len({tuple(r) for r in results}) == 3
        for bad in ([0.4], [0.4, 1.0], [0.1, "x"]):
            with pytest.raises(ValueError, match="dropout must be a number .* of which there are 2"):
                estimator(hidden_layer_sizes=(20, 10), dropout=bad).fit(X, target)
        with pytest.raises(ValueError, match="dropout is for the stochastic solvers"):
            estimator(solver="lbfgs", dropout=0.1).fit(X, target)
    clf = MLPClassifier(20, max_iter=1, random_state=0).fit(X, y)
    clf.set_params(dropout=0.5, warm_start=True).fit(X, y)
    assert clf._model().layers[0].dropout == 0.5


# ---- input noise ----------------------------------------------------------------------------------------------------


def test_noise_is_l2_for_a_linear_network(rng):
    """Mean over the noise of 1/2 |y - (x + e) W - b|^2 = 1/2 |y - x W - b|^2 + sigma^2/2 |W|^2, and of its gradient."""
    sigma = 0.5
    X, y = rng.normal(size=(20, 6)), rng.normal(size=(20, 2))
    net = Network([Dense(2)], n_inputs=6, random_state=0, input_noise=sigma)
    many = np.tile(X, (2000, 1)), np.tile(y, (2000, 1))
    cost, gradient = one_step(net, *many, batch_size=40000)
    plain, _ = net.value_and_gradient(X, y)
    net.l2 = sigma**2
    expected, expected_gradient = net.value_and_gradient(X, y, penalty=True)
    assert_allclose(cost, expected, rtol=0.02)
    assert abs(cost - expected) < 0.1 * abs(plain - expected)
    assert np.linalg.norm(gradient - expected_gradient) < 0.02 * np.linalg.norm(expected_gradient)


def test_training_with_noise_is_ridge_regression(rng):
    """To where the weights go: (X^T X / n + sigma^2 I)^-1 X^T y / n."""
    sigma = 0.7
    X = rng.normal(size=(50, 4))
    X -= X.mean(axis=0)
    y = X @ [1.0, -2.0, 3.0, 0.5] + rng.normal(size=50)
    y -= y.mean()
    net = Network([Dense(1)], n_inputs=4, random_state=0, input_noise=sigma)
    schedule = fastbp.InverseScaling(0.4, power_t=0.6)
    net.fit(np.tile(X, (200, 1)), np.tile(y, 200), optimizer=SGD(schedule), epochs=20, batch_size=500)
    ridge = np.linalg.solve(X.T @ X / 50 + sigma**2 * np.eye(4), X.T @ y / 50)
    least_squares = np.linalg.solve(X.T @ X, X.T @ y)
    assert np.abs(net.weights[0][:, 0] - ridge).max() < 0.05 < 0.2 * np.abs(least_squares - ridge).max()


# ---- images ---------------------------------------------------------------------------------------------------------


def test_all_that_is_random_in_its_order(rng):
    """Distortion, then noise, then dropout of the second batch's inputs, made by NumPy and scipy."""
    net = Network([Dense(2)], n_inputs=35, random_state=0, input_noise=0.2, input_dropout=0.3)
    images = ImageAugmentation((5, 7), shift=1, rotation=20, elastic_alpha=3, elastic_sigma=1)
    X, y = rng.integers(0, 255, size=(50, 35)).astype(np.uint8), rng.normal(size=(50, 2))
    seed = np.random.RandomState(5).randint(2**32, size=2, dtype=np.uint32)
    record, _ = net._model.train_epoch(
        net._model.check_rows(X, y).data(), None, 30, SGD(1e-300), random_state=np.random.RandomState(5),
        augmentation=images,
    )
    H = [reference.distorted(x.reshape(5, 7), images, seed, 1, i).ravel() for i, x in enumerate(X[30:].astype(float))]
    H = H + 0.2 * reference.normal_numbers(seed, 1, np.arange(20), 35)
    H *= reference.dropout_mask(seed, 1, np.arange(20), 0, 35, 0.3)
    z = H @ net.weights[0] + net.biases[0]
    assert_allclose(record[1, 0], losses(kernel_of("squared_error"), z, y[30:]).mean(), rtol=1e-12)


def test_augmentation_teaches_invariance(rng):
    """A bar at one place in training is known at others after training with shifts, and not without."""
    def images(places):
        X = np.zeros((2 * len(places), 11, 11))
        for i, (row, column) in enumerate(places):
            X[2 * i, row - 2 : row + 3, column] = X[2 * i + 1, row, column - 2 : column + 3] = 1
        return X.reshape(-1, 121), np.arange(len(X)) % 2

    X, y = images([(5, 5)] * 50)
    X_test, y_test = images([(r, c) for r in range(3, 8) for c in range(3, 8)])
    scores = []
    for augmentation in (None, ImageAugmentation((11, 11), shift=2.5)):
        net = Network([Dense(30, "relu"), Dense(2)], n_inputs=121, loss="softmax_cross_entropy", random_state=0)
        net.fit(X, y, optimizer=Adam(0.005), epochs=60, batch_size=20, augmentation=augmentation)
        scores.append((net.predict(X_test).argmax(axis=1) == y_test).mean())
    assert scores[0] < 0.8 and scores[1] > 0.95


def test_augmentation_settings_are_checked(rng):
    bad_settings = {"shift": -1}, {"rotation": np.nan}, {"scale": 1}, {"shear": "a"}, {"elastic_sigma": 0.1}
    for bad in bad_settings:
        with pytest.raises(ValueError, match=f"{next(iter(bad))} must be a number from"):
            ImageAugmentation((4, 4), **bad)
    for bad in (4, (4,), (4, 4, 1), (4, 0)):
        with pytest.raises(ValueError, match="image_shape must be|width must be"):
            ImageAugmentation(bad)
    net, (X, y) = make(0.0), data(rng)
    with pytest.raises(TypeError, match="augmentation must be an ImageAugmentation"):
        net.fit(X, y, augmentation="shift")
    with pytest.raises(ValueError, match="images with 6 pixels"):
        net.fit(X, y, augmentation=ImageAugmentation((2, 4)))
    with pytest.raises(ValueError, match="mini-batches with augmentation="):
        net.fit(X, y, augmentation=ImageAugmentation((2, 3)), optimizer=fastbp.Rprop())
    with pytest.raises(ValueError, match="X must be dense with augmentation="):
        net.fit(sparse.csr_array(X), y, augmentation=ImageAugmentation((2, 3)))
