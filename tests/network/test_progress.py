"""The progress bar."""

import re

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastbp import LBFGS, SGD, Dense, Network

pytest.importorskip("tqdm")


@pytest.fixture
def data(rng):
    X = rng.normal(size=(40, 3))
    return X, X @ [[1.0], [2.0], [-1.0]]


def make():
    return Network([Dense(5, "tanh"), Dense(1)], n_inputs=3, random_state=0)


def shown(capsys):
    """What is on the bars in the end."""
    out, err = capsys.readouterr()
    assert out == ""
    return [line.rsplit("\r", 1)[-1] for line in err.split("\n") if line]


def test_it_shows_epochs_and_losses(data, capsys):
    history = make().fit(*data, epochs=7, validation_data=data, progress=True)
    (bar,) = shown(capsys)
    assert "7/7" in bar and "100%" in bar
    assert f"loss={history.loss[-1]:.4g}" in bar and f"validation_loss={history.validation_loss[-1]:.4g}" in bar


def test_it_changes_nothing(data, capsys):
    calls = []
    for train in ("fit", "partial_fit"):
        with_bar, without = make(), make()
        for net, progress in ((with_bar, True), (without, False)):
            getattr(net, train)(
                *data, epochs=3, progress=progress, callback=lambda epoch, history: calls.append(epoch)
            )
        assert_array_equal(with_bar.parameters, without.parameters)
    assert calls == [0, 1, 2] * 4 and len(shown(capsys)) == 2
    make().fit(*data, epochs=3)
    assert shown(capsys) == []


def test_one_epoch(data, capsys):
    make().fit(*data, progress=True)
    assert "1/1" in shown(capsys)[0]


def test_an_early_end_is_no_failure(data, capsys):
    history = make().fit(*data, epochs=900, progress=True, callback=lambda epoch, history: epoch == 4)
    assert len(history.loss) == 5 and "5/5" in shown(capsys)[0]
    n = len(make().fit(*data, optimizer=LBFGS(), epochs=900, progress=True).loss)
    assert n < 900 and f"{n}/{n}" in shown(capsys)[0]


def test_training_after_early_stopping_has_a_bar_of_its_own(data, capsys):
    X, y = data
    noise = np.random.default_rng(0).normal(size=y.shape)
    history = make().fit(
        X, y, optimizer=SGD(0.2), epochs=200, validation_data=(X, noise), early_stopping=2, then="retrain",
        progress=True,
    )  # fmt: skip
    first, second = shown(capsys)
    assert f"{len(history.loss)}/{len(history.loss)}" in first
    assert re.search(rf"all data: .*\b{len(history.second.loss)}\b", second)


def test_it_ends_where_training_fails(data, capsys):
    X, y = data
    with pytest.raises(FloatingPointError):
        make().fit(X, y * 1e300, optimizer=SGD(1e30), epochs=5, progress=True)
    assert "0/5" in shown(capsys)[0]


@pytest.mark.parametrize("bad", [1, "yes", None])
def test_bad_values(data, bad):
    with pytest.raises(ValueError, match="progress must be True or False, got"):
        make().fit(*data, progress=bad)
