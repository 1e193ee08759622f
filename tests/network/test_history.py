"""What happened in a fit, in words."""

import numpy as np
import pytest

from fastbp import SGD, Dense, Network
from fastbp.network import History


def history(loss, validation_loss=(), second=None):
    return History(np.array(loss), np.array(validation_loss), np.full(len(loss), 0.25), second)


def test_in_a_line():
    assert repr(history([0.5])) == "History(1 epoch in 0.25 s; loss 0.5)"
    assert repr(history([0.5, 0.25], [2.0, 3.0])) == (
        "History(2 epochs in 0.5 s; loss 0.5 to 0.25; validation loss 2 to 3, least after 1 epoch)"
    )
    assert repr(history([1.0], [np.nan])) == "History(1 epoch in 0.25 s; loss 1; validation loss nan)"
    assert repr(history([1.0], [2.0], history([3.0]))).endswith("; then History(1 epoch in 0.25 s; loss 3))")
    assert repr(history([])) == "History(0 epochs in 0 s)"


def test_of_a_fit(rng):
    X, y = rng.normal(size=(40, 2)), rng.normal(size=(40, 3))
    net = Network([Dense(3)], n_inputs=2, random_state=0)
    found = net.fit(X, y, epochs=20, validation_data=(X, y), early_stopping=5, then="retrain")
    assert repr(found).count("History(") == 2 and "validation loss" in repr(found)


def test_it_can_be_drawn(rng):
    pytest.importorskip("matplotlib").use("agg")
    X, y = rng.normal(size=(40, 2)), rng.normal(size=(40, 3))
    net = Network([Dense(3)], n_inputs=2, random_state=0)
    found = net.fit(X, y, optimizer=SGD(0.01), epochs=3, validation_data=(X, y))
    display = found.plot(color="red")
    training, validation = display.lines_
    assert training.get_ydata().tolist() == found.loss.tolist() and training.get_color() == "red"
    assert validation.get_ydata().tolist() == found.validation_loss.tolist()
    assert display.ax_.figure is display.figure_
    axes = display.figure_.subplots()
    assert found.plot(axes).ax_ is axes
