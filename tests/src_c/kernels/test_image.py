"""Distorted images."""

from ctypes import byref
from functools import cache

import kernel_table as kt
import numpy as np
import pytest
import reference
from kernel_cases import guarded
from kernel_table import pointer
from numpy.testing import assert_allclose

import fastbp

AUGMENTATIONS = [
    {},
    {"shift": 3.0},
    {"rotation": 30.0, "scale": 0.3, "shear": 0.4},
    {"elastic_alpha": 34.0, "elastic_sigma": 4.0},
    {"elastic_alpha": 8.0, "elastic_sigma": 0.5, "shift": 100.0},
    {"shift": 1.5, "rotation": 15.0, "scale": 0.1, "shear": 0.1, "elastic_alpha": 20.0, "elastic_sigma": 2.5},
]


@cache  # the twin takes longest
def distorted(s):
    """Three images, with an element more behind each, and what is to become of them."""
    n = s.image_shape[0] * s.image_shape[1]
    a = np.random.default_rng(0).random((3, n + 1)).astype(np.float32)
    expected = a.astype(float)
    for i in range(3):
        expected[i, :n] = reference.distorted(expected[i, :n].reshape(s.image_shape), s, (1, 2), 3, 4 + i).ravel()
    return a, expected


@pytest.mark.parametrize("settings", AUGMENTATIONS)
@pytest.mark.parametrize("shape", [(1, 1), (5, 9), (28, 28), (13, 3)])
def test_augment(k, dtype, settings, shape):
    """Against scipy.ndimage, and within the scratch that it says it needs."""
    s = fastbp.ImageAugmentation(shape, **settings)
    n, r = shape[0] * shape[1], int(3 * s.elastic_sigma + 0.5)
    stride = shape[1] + r
    size = (shape[0] + 3) * (shape[1] + 3) + (shape[0] + 2 * r) * stride + 3 * shape[0] * stride + 2 * r + 64
    scratch, check = guarded(size, dtype)
    scratch[:] = np.nan
    images, expected = distorted(s)
    a = images.astype(dtype)
    k.augment(3, kt.Augmentation(*s.settings), byref(kt.Counter((1, 2), 3, 4, 0)), pointer(a), n + 1, pointer(scratch))
    check()
    assert_allclose(a, expected, rtol=0, atol=3e-4 if dtype == "float32" else 1e-9)
