"""Settings are Python's own numbers, whatever they were given as."""

import io
import json
from dataclasses import asdict, fields
from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastbp
from fastbp import (
    BFGS,
    ELU,
    EMA,
    LBFGS,
    RBF,
    SAM,
    SGD,
    SWA,
    Activation,
    Adagrad,
    Adam,
    AdamW,
    BatchNorm,
    Checkpoint,
    CosineWarmRestarts,
    Cyclical,
    Dense,
    Dropout,
    Embed,
    Exponential,
    GroupNorm,
    HistogramLoss,
    Huber,
    ImageAugmentation,
    InverseScaling,
    LayerNorm,
    LeakyReLU,
    LowRank,
    Lp,
    Network,
    Newton,
    NewtonCG,
    OneCycle,
    Orthogonal,
    Parallel,
    Periodic,
    PiecewiseLinear,
    PReLU,
    Prune,
    Quantile,
    Quickprop,
    ReduceOnPlateau,
    Residual,
    RMSProp,
    Rprop,
    Scale,
    Shared,
    SoftmaxCrossEntropy,
    Sparse,
    SpectralNorm,
    Standardize,
    StepDecay,
    Transposed,
    VarianceScaling,
    WarmUp,
    WeightNorm,
)  # fmt: skip
from fastbp.full_batch import FullBatch
from fastbp.optimizers import UpdateRule
from fastbp.schedules import Schedule
from fastbp.settings import Settings

pytestmark = pytest.mark.once

# All classes, with all settings that are numbers, integers as ints.
OBJECTS = [
    BFGS(gtol=0.5), ELU(0.5), LBFGS(5, 0.25, 0.5, 3), RBF(3, 0.5),
    SGD(0.5, 0.5, True, 0.0, clip_value=0.5, weight_decay=0.25, proximal=False),
    SGD(0.5, 0.5, False, 0.5, clip_norm=0.5, proximal=True), Adagrad(0.5, 0.25), Adam(0.5, 0.25, 0.5, 0.25),
    AdamW(0.5, 0.25, 0.5, 0.25, weight_decay=0.5), CosineWarmRestarts(0.5, 10, 2, 0.25), Cyclical(0.25, 0.5, 10),
    Dense(3, "relu", 0.5, 0.25, None, 0.5, 2.0), Exponential(0.5, 0.25), HistogramLoss([0.0, 0.5, 1.0], 0.25),
    Huber(0.5), ImageAugmentation((8, 9), 0.5, 0.25, 0.5, 0.25, 2.0, 0.5), InverseScaling(0.5, 0.25), LeakyReLU(0.5),
    Lp(2.5), Newton(0.5, 2.5, 0.25), NewtonCG(0.5, 0.25, 0.5, 0.125), OneCycle(0.5, 10, 0.25, 2.5, 4.5),
    Orthogonal(0.5), Quantile(0.5), Quantile([0.25, 0.5]), Quickprop(0.5, 0.25),
    ReduceOnPlateau(0.5, 0.25, 3, 0.125, 0.25), RMSProp(0.5, 0.25, 0.5, 0.25, True),
    Rprop(0.5, (0.25, 2.5), (0.25, 0.5)), SoftmaxCrossEntropy(0.5, True),
    StepDecay(0.5, 0.25, 10), VarianceScaling(0.5), WarmUp(10, 0.5, 0.25), Activation(LeakyReLU(0.5)), Dropout(0.5),
    Residual([Dense(3, dropout=0.5)], "linear"), Parallel([[Dense(3, l1=0.5)], []]), Shared(Dense(3, l2=0.5)),
    Checkpoint([Dense(3, l1=0.5)]), BatchNorm(0.5, 0.25), GroupNorm(2, 0.5), LayerNorm(0.5),
    Transposed("code", "tanh", 0.5), Scale(False), PReLU(0.5), LowRank(3, 2), Sparse(3, 2), Embed({1: 3}, 2),
    Standardize(), Prune(0.5), EMA(0.5), SWA(1), SAM(SGD(0.5), 0.25),
    WeightNorm(Dense(3, l1=0.5), False), SpectralNorm(Dense(3, l1=0.5), 2), Periodic(2, 0.5), PiecewiseLinear(2, 3),
]  # fmt: skip
KINDS = {
    "float32": (np.float32, np.int64, np.bool_), "float64": (np.float64, np.uint8, np.bool_),
    "float16": (np.float16, np.int16, np.bool_), "longdouble": (np.longdouble, np.int32, np.bool_),
    "Fraction": (Fraction, np.intp, bool),
}  # fmt: skip


def as_kind(value, kind):
    """The same value, as other numbers."""
    of_float, of_int, of_bool = KINDS[kind]
    if isinstance(value, tuple):
        return tuple(as_kind(v, kind) for v in value)
    for own, other in ((bool, of_bool), (int, of_int), (float, of_float)):
        if type(value) is own:
            return other(value)
    return value


def numbers(value):
    return [n for v in value for n in numbers(v)] if isinstance(value, tuple) else [value]


def test_all_classes_are_here():
    named = {getattr(fastbp, name) for name in fastbp.__all__ if isinstance(getattr(fastbp, name), type)}
    named = {cls for cls in named if issubclass(cls, Settings) and hasattr(cls, "__dataclass_fields__")} - {UpdateRule}
    assert named == {type(o) for o in OBJECTS}
    assert all(issubclass(cls, UpdateRule | FullBatch | Schedule) or cls.__module__ in (
        "fastbp.layers", "fastbp.losses", "fastbp.initializers", "fastbp.augmentation",
        "fastbp.averaging", "fastbp.optimizers", "fastbp.pruning",
    ) for cls in {type(o) for o in OBJECTS})  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("given", OBJECTS, ids=lambda o: type(o).__name__)
def test_numbers_become_pythons_own(given, kind):
    values = {field.name: getattr(given, field.name) for field in fields(given)}
    again = type(given)(**{name: as_kind(value, kind) for name, value in values.items()})
    assert again == given and repr(again) == repr(given) and hash(again) == hash(given)
    for name, value in values.items():
        assert list(map(type, numbers(getattr(again, name)))) == list(map(type, numbers(value))), name
    json.dumps(asdict(again), default=dict)


def test_a_network_of_numpy_scalars_can_be_saved():
    f, i = np.float32, np.int64
    net = Network(
        [
            Dense(i(3), LeakyReLU(f(0.1)), l1=f(0.5), initializer=VarianceScaling(f(2)), dropout=f(0.5), max_norm=f(2)),
            Dense(i(3), ELU(f(0.5)), initializer=Orthogonal(f(2))), RBF(i(3), f(0.5)), Dense(i(4)),
        ],
        n_inputs=i(3), loss=Quantile(np.array([0.25, 0.5], f)), l1=f(0.5), l2=i(1), input_dropout=f(0.5),
        input_noise=f(0.5), ties=[(i(0), i(1), f(0.5))], random_state=i(3),
    )  # fmt: skip
    for loss in (net.loss, Lp(f(3)), Huber(f(2)), Quantile(f(0.5)), SoftmaxCrossEntropy(f(0.5), np.True_),
                 HistogramLoss(np.linspace(0, 1, 5, dtype=f), f(0.1))):  # fmt: skip
        each, stream = Network(net.layers, n_inputs=3, loss=loss, ties=net.ties, l2=f(0.5)), io.BytesIO()
        each.save(stream)
        stream.seek(0)
        assert repr(Network.load(stream)) == repr(each)
    stream = io.BytesIO()
    net.save(stream)
    stream.seek(0)
    assert repr(Network.load(stream)) == repr(net) and "np." not in repr(net)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HistogramLoss(["0", "1", "2"]), "edges must be a number"),
        (lambda: HistogramLoss([0, 1, np.inf]), "edges must be a number"),
        (lambda: HistogramLoss([[0, 1, 2]]), "edges must be"),
        (lambda: HistogramLoss(np.array(["2020-01-01"] * 3, "M8[D]")), "edges must be a number"),
        (lambda: Quantile(["0.5"]), "levels must be a number"),
        (lambda: Quantile([True]), "levels must be a number"),
        (lambda: SGD(True), "learning_rate must be a number"),
        (lambda: SGD(10**400), "learning_rate must be a number"),
        (lambda: SGD(np.timedelta64(1)), "learning_rate must be a number"),
        (lambda: Lp(np.timedelta64(2)), "p must be a number"),
        (lambda: Dense(np.timedelta64(2)), "n_units must be an integer"),
        (lambda: WarmUp(10, "0.5"), "then must be a number"),
        (lambda: Lp(10**400), "p must be a number"),
        (lambda: LeakyReLU(np.bool_(True)), "slope must be a number"),
        (lambda: Network([Dense(2)], n_inputs=1, l1=10**400), "l1 must be a number"),
        (lambda: Network([Dense(2)], n_inputs=1, l1=np.True_), "l1 must be a number"),
    ],
)
def test_what_is_no_number_is_an_error(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---- random_state ----------------------------------------------------------------------------------------------------


def test_random_state():
    def parameters(random_state):
        return Network([Dense(4, "relu", dropout=0.5), Dense(1)], n_inputs=3, random_state=random_state).parameters

    generators = [np.random.default_rng(0) for _ in range(2)]
    a, b = map(parameters, generators)
    assert_array_equal(a, b)
    assert not np.array_equal(a, parameters(generators[0]))  # it has moved on
    assert not np.array_equal(a, parameters(np.random.default_rng(1)))
    assert_array_equal(parameters(3), parameters(np.random.RandomState(3)))
    net = Network([Dense(4, "relu", dropout=0.5), Dense(1)], n_inputs=3, random_state=np.random.default_rng(0))
    net.fit(np.ones((9, 3)), np.ones(9), epochs=2)
    for bad in ("x", -1, 2**32, 0.5, [1], np.random.PCG64(0)):
        with pytest.raises(ValueError, match="random_state must be an integer .*, a Generator or None"):
            parameters(bad)
