"""Where displays draw."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def axes_for(display: object, ax: "Axes | None") -> "Axes":
    """The axes that are given, or those of a new figure; ImportError without matplotlib."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            f"{type(display).__name__} needs matplotlib to draw: pip install 'fastbp[plot]'"
        ) from error
    return pyplot.subplots()[1] if ax is None else ax
