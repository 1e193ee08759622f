"""Images as training distorts them, to be looked at, and distortions for images of other sizes."""

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal

from fastbp import SGD, Dense, ImageAugmentation, Network

ALL = ImageAugmentation((5, 7), shift=1, rotation=20, scale=0.1, shear=0.1, elastic_alpha=3, elastic_sigma=1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_is_what_training_does(rng, dtype):
    """With weights of 0, targets -1 of a unit for each image, and a rate of 1, the unit's weights become the image."""
    n = 8  # a power of two, of which the mean over the batch is exact
    X = rng.random((n, 35)).astype(dtype)
    net = Network([Dense(n)], n_inputs=35, dtype=dtype, random_state=0)
    net.parameters[:] = 0
    state = net._random_state.get_state()
    net.fit(X, -np.eye(n), optimizer=SGD(1.0), batch_size=n, augmentation=ALL)
    random_state = np.random.RandomState()
    random_state.set_state(state)
    distorted = ALL.apply(X, random_state=random_state)
    assert distorted.dtype == dtype and not np.isclose(distorted, X).all(axis=1).any()
    assert_array_equal(-n * net.weights[0].T, distorted)


def test_many_rows(rng):
    """Each by its number, however many are distorted at once."""
    X = rng.random((600, 35))
    distorted = ALL.apply(X, random_state=3)
    seed = np.random.RandomState(3).randint(2**32, size=2, dtype=np.uint32)
    for i in (0, 255, 256, 599):
        expected = reference.distorted(X[i].reshape(5, 7), ALL, seed, 0, i).ravel()
        assert_allclose(distorted[i], expected, rtol=0, atol=1e-9)


def test_kinds_of_images(rng):
    images = rng.integers(0, 17, (10, 5, 7))
    kept = images.copy()
    distorted = ALL.apply(images, random_state=0)
    assert distorted.shape == images.shape and distorted.dtype == np.float64
    assert_array_equal(images, kept)
    flat = images.reshape(10, 35)
    for X in (flat, flat.astype(np.uint8), np.asfortranarray(flat), flat.tolist()):
        assert_array_equal(ALL.apply(X, random_state=0), distorted.reshape(10, 35))
    assert_array_equal(ImageAugmentation((5, 7)).apply(images), images)


@pytest.mark.parametrize("shape", [(10, 34), (10, 7, 5), (35,), (10, 5, 7, 1)])
def test_bad_shapes(shape):
    with pytest.raises(ValueError, match=r"X must have shape \(n_samples, 35\)|Expected 2D array"):
        ALL.apply(np.zeros(shape))


def test_bad_values():
    with pytest.raises(ValueError, match="X contains NaN"):
        ALL.apply(np.full((3, 35), np.nan))
    with pytest.raises(ValueError, match="cannot be used to seed"):
        ALL.apply(np.zeros((3, 35)), random_state="a")


# ---- other sizes ----------------------------------------------------------------------------------------------------


def displacement(augmentation, n=30):
    """Root mean square of elastic displacements across, in pixels, of an image whose values are its columns."""
    height, width = augmentation.image_shape
    images = np.broadcast_to(np.arange(float(width)), (n, height, width))
    moved = augmentation.apply(images, random_state=0) - images
    inner = moved[:, height // 4 : -height // 4, width // 4 : -width // 4]  # that read no zeros from outside
    return np.sqrt((inner**2).mean())


def test_lengths_grow_with_the_image():
    small = ImageAugmentation((28, 28), shift=2, rotation=10, scale=0.2, elastic_alpha=34)
    large = small.resized((56, 56))
    assert large == ImageAugmentation(
        (56, 56), shift=4, rotation=10, scale=0.2, elastic_alpha=136, elastic_sigma=8
    )
    assert large.resized((28, 28)) == small
    assert small.resized((14, 56)).shift == 2


def test_elastic_distortions_look_the_same_at_any_size():
    for_mnist = ImageAugmentation((28, 28), elastic_alpha=20, elastic_sigma=3)
    shares = [displacement(for_mnist.resized((size, size))) / size for size in (14, 28, 84)]
    assert max(shares) < 1.15 * min(shares)
    assert abs(displacement(for_mnist) / (0.16 * 20 / 3) - 1) < 0.1


def test_sigma_stays_within_its_bounds():
    """And displacements in proportion to the size nevertheless."""
    augmentation = ImageAugmentation((28, 28), elastic_alpha=34)
    for shape, sigma in (((2, 2), 0.5), ((2000, 2000), 100)):
        resized = augmentation.resized(shape)
        assert resized.elastic_sigma == sigma
        assert_allclose(resized.elastic_alpha / sigma, shape[0] / 28 * 34 / 4)
    with pytest.raises(ValueError, match="image_shape must be a tuple"):
        augmentation.resized(8)
