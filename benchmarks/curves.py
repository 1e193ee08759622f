"""Draw the README's picture: the training loss of one fit over processor time, here and in scikit-learn.

    python benchmarks/curves.py [docs/_static/training_curves.svg]

The same classifier with the same seed on scikit-learn's digits, so that the losses of the epochs agree. Each library
has one thread, and seconds are those of the processor in `fit`, the least of several runs by turns: other work on the
machine only adds to them. They are shared by the epochs equally.
"""

import sys
import time
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import sklearn.neural_network
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

import fastbp

ROUNDS = 15
PICTURE = Path(__file__).resolve().parents[1] / "docs" / "_static" / "training_curves.svg"
COLORS = {"scikit-learn": "#808080", "fastbp": "#e8590c"}


def main():
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    settings = {"batch_size": 32, "max_iter": 60, "n_iter_no_change": 60, "random_state": 0}
    classifiers = {
        "scikit-learn": sklearn.neural_network.MLPClassifier((128,), **settings),
        "fastbp": fastbp.MLPClassifier((128,), n_threads=1, **settings),
    }
    seconds, losses = {name: [] for name in classifiers}, {}
    warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is meant
    threadpool_limits(1)
    for _ in range(ROUNDS):
        for name, clf in classifiers.items():
            start = time.process_time()
            clf.fit(X, y)
            seconds[name].append(time.process_time() - start)
            losses[name] = clf.loss_curve_
    total = {name: min(values) for name, values in seconds.items()}
    print({name: f"{value:.3f} s" for name, value in total.items()}, "largest relative difference of the losses",
          np.abs(np.divide(losses["fastbp"], losses["scikit-learn"]) - 1).max())  # fmt: skip

    plt.rcParams.update({"svg.fonttype": "path", "svg.hashsalt": "", "font.size": 11})
    figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
    for name, loss in losses.items():
        axis.semilogy(np.arange(1, 61) * total[name] / 60, loss, color=COLORS[name], linewidth=2.2)
        axis.annotate(
            f"{name}\n{total[name]:.2f} s", (total[name], loss[-1]), (6, -4), textcoords="offset points", va="bottom",
            color=COLORS[name], weight="bold",
        )  # fmt: skip
    axis.set(xlabel="seconds of processor time in fit, one thread", ylabel="training loss")
    axis.set_xlim(0, 1.25 * max(total.values()))
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.3)
    figure.savefig(sys.argv[1] if len(sys.argv) > 1 else PICTURE, facecolor="white", metadata={"Date": None})


if __name__ == "__main__":
    main()
