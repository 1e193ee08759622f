"""What settings look like."""

import numpy as np
import pytest

from fastbp import ELU, SGD, Adam, Dense, OneCycle, Parallel, Residual, Schedule, SoftmaxCrossEntropy, WarmUp
from fastbp.settings import written

DEEP = Residual([Dense(64, ELU(0.5), dropout=0.25), Residual([Dense(64, "relu"), Dense(64)])], projection="linear")


def test_only_what_was_changed_is_shown():
    assert repr(Dense(3, l2=0.0)) == "Dense(n_units=3, l2=0.0)"
    assert repr(SoftmaxCrossEntropy()) == "SoftmaxCrossEntropy()"
    assert repr(SGD(WarmUp(3, then=0.1))) == "SGD(learning_rate=WarmUp(steps=3, then=0.1))"


def test_lines():
    assert written(Dense(3)) == "Dense(n_units=3)"
    assert written(DEEP) == """\
Residual(
    layers=(
        Dense(n_units=64, activation=ELU(alpha=0.5), dropout=0.25),
        Residual(layers=(Dense(n_units=64, activation='relu'), Dense(n_units=64))),
    ),
    projection='linear',
)"""
    heads = Parallel({"price": [Dense(64, "relu"), Dense(1)], "kind": [Dense(64, "relu"), Dense(10)]})
    assert written(heads, column=4).splitlines()[1:] == [
        "        branches={",
        "            'price': (Dense(n_units=64, activation='relu'), Dense(n_units=1)),",
        "            'kind': (Dense(n_units=64, activation='relu'), Dense(n_units=10)),",
        "        },",
        "    )",
    ]


def test_classes_of_users():
    class Flat(Schedule):
        def rates(self, steps, epoch=0, memory=None):
            return np.full(len(steps), 0.5)

    class Named(Flat):
        def __repr__(self):
            return "my schedule"

    assert repr(SGD(Flat())) == "SGD(learning_rate=Flat())"
    assert repr(SGD(Named())) == "SGD(learning_rate=my schedule)"
    assert Flat().preview(3, steps_per_epoch=2).tolist() == [0.5] * 3


@pytest.mark.parametrize("settings", [DEEP, Adam(WarmUp(100, then=OneCycle(0.1, total=1000, warm_up=0.2, div=10)))])
def test_lines_can_be_evaluated(settings):
    names = {cls.__name__: cls for cls in (ELU, Adam, Dense, OneCycle, Residual, WarmUp)}
    assert eval(written(settings, column=20, first=80), names) == eval(repr(settings), names) == settings
    assert "\n" in written(settings, column=20, first=80) and "\n" not in repr(settings)


def test_ipython_shows_lines():
    pretty = pytest.importorskip("IPython.lib.pretty").pretty
    assert pretty(DEEP) == written(DEEP)
    assert pretty([DEEP]).splitlines()[1] == "     layers=("
