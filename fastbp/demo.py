"""The main job on real data: scikit-learn's handwritten digits. Run as `fastbp-demo`."""

import time
import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from . import ISA, MLPClassifier
from .threads import default_n_threads


def _progress_bar():
    """scikit-learn's progress bar, if it has one (from 1.9) and rich is installed."""
    try:
        from sklearn.callback import ProgressBar

        return [ProgressBar()]
    except ImportError:
        return []


def main():
    """Train a classifier of 8 x 8 images of digits and print how well and how fast."""
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=0, stratify=y)
    model = MLPClassifier((128,), learning_rate_init=0.003, batch_size=32, max_iter=60, random_state=0)
    callbacks = _progress_bar()
    if callbacks:
        model.set_callbacks(*callbacks)

    print(f"{len(X_train)} images of handwritten digits, a network of 64-128-10 units, {model.max_iter} epochs of Adam")
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is meant
        model.fit(X_train, y_train)
    seconds = time.perf_counter() - start

    print(f"test accuracy   {model.score(X_test, y_test):.1%}")
    print(f"seconds         {seconds:.2f}")
    print(f"samples/second  {model.n_iter_ * len(X_train) / seconds:,.0f}")
    print(f"threads         up to {default_n_threads()}")
    print(f"instructions    {ISA}")


if __name__ == "__main__":
    main()
