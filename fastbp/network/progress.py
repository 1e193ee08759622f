"""A progress bar for training, by tqdm: in terminals and in notebooks."""

import warnings
from collections.abc import Sequence
from typing import Any


class ProgressBar:
    """A bar with epochs, loss and validation loss; a context that ends it.

    Parameters
    ----------
    epochs : int
        How many there will be at most.

    Raises
    ------
    ImportError
        If tqdm is not installed.
    """

    def __init__(self, epochs: int):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # without ipywidgets a notebook has a bar of characters
                from tqdm.auto import tqdm
        except ImportError as error:
            raise ImportError("progress=True needs tqdm: pip install 'fastbp[progress]'") from error
        self._new_bar, self._epochs = tqdm, epochs

    def __enter__(self) -> "ProgressBar":
        self._bar: Any = self._new_bar(total=self._epochs, unit="epoch")
        return self

    def __exit__(self, error: type | None, *others: object) -> None:
        if error is None:
            self._complete()
        self._bar.close()

    def end_epoch(self, losses: Sequence[float], validation_losses: Sequence[float]) -> None:
        """Show that an epoch has ended: all losses so far are given."""
        shown = {"loss": f"{losses[-1]:.4g}"}
        if validation_losses:
            shown["validation_loss"] = f"{validation_losses[-1]:.4g}"
        if len(losses) <= self._bar.n:  # a second training, on all data, of which nobody knows how long it takes
            self._complete()
            self._bar.close()
            self._bar = self._new_bar(desc="all data", unit="epoch")
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update()

    def _complete(self) -> None:
        """Early stopping is no failure, which notebooks would show in red."""
        self._bar.total = self._bar.n
        self._bar.refresh()
