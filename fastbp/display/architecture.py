"""The layers of a network as a drawing: boxes, and arrows with skips and branches."""

from typing import Any

from ..checks import check_kind
from ..layers import Checkpoint, Layer, Parallel, Residual, Shared
from ..network import Network
from ..network.summary import LayerSummary, Summary, summary_of
from .svg import Block, Box, Branches, Column, Frame, Wire, document

LEARNT, PLAIN, ENDS = "#dbe9f6", "#eee", "#e2f0d9"  # boxes with parameters, without, and of inputs and outputs


class ArchitectureDisplay:
    """The layers of a network as a drawing, from the inputs at the top to the outputs, in SVG.

    Make one with `from_network` or `from_estimator`. Notebooks show it; it needs no other library.

    Parameters
    ----------
    summary : Summary
        What `Network.summary` returns.

    Attributes
    ----------
    summary : Summary
    svg : str
        The drawing, a whole SVG file.

    See Also
    --------
    Network.summary : The same as a table.

    Examples
    --------
    >>> import fastbp
    >>> from fastbp.display import ArchitectureDisplay
    >>> layers = [fastbp.Dense(64, "relu"), fastbp.Residual([fastbp.Dense(64, "relu")]), fastbp.Dense(10)]
    >>> display = ArchitectureDisplay.from_network(fastbp.Network(layers, n_inputs=20))
    >>> display.svg.count("<rect")
    5
    """

    def __init__(self, *, summary: Summary) -> None:
        self.summary = summary

    @classmethod
    def from_network(cls, network: Network) -> "ArchitectureDisplay":
        """Draw a network.

        Parameters
        ----------
        network : Network

        Returns
        -------
        display : ArchitectureDisplay

        See Also
        --------
        from_estimator : The same of an estimator.

        Examples
        --------
        >>> import fastbp
        >>> from fastbp.display import ArchitectureDisplay
        >>> display = ArchitectureDisplay.from_network(fastbp.Network([fastbp.Dense(1)], n_inputs=2))
        >>> display.svg[:4]
        '<svg'
        """
        check_kind("network", network, Network)
        return cls(summary=network.summary())

    @classmethod
    def from_estimator(cls, estimator: Any) -> "ArchitectureDisplay":
        """Draw the network of an estimator.

        Parameters
        ----------
        estimator : MLPClassifier or MLPRegressor
            Of fastbp, and fitted.

        Returns
        -------
        display : ArchitectureDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError
            If it is not one of fastbp.

        See Also
        --------
        from_network : The same of a network.

        Examples
        --------
        >>> from fastbp import MLPRegressor
        >>> from fastbp.display import ArchitectureDisplay
        >>> reg = MLPRegressor(hidden_layer_sizes=4, tol=0.1, random_state=0).fit([[0.0], [1.0], [2.0]], [0, 1, 4])
        >>> ArchitectureDisplay.from_estimator(reg).summary.n_parameters
        13
        """
        from ..estimators.fitted import model_of

        return cls(summary=summary_of(model_of(estimator)))

    @property
    def svg(self) -> str:
        """The drawing, a whole SVG file."""
        summary = self.summary
        blocks: list[Block] = [Box([f"{summary.n_inputs:,} inputs"], ENDS), *map(_block, summary.layers)]
        if not summary.layers[-1].layer.heads:
            blocks.append(Box([f"loss {summary.loss}"], ENDS))
        return document(Column(blocks), summary.title)

    def _repr_svg_(self) -> str:
        return self.svg

    def _repr_html_(self) -> str:
        return self.svg


def _block(one: LayerSummary) -> Block:
    """A layer with all that is within it."""
    layer, sequences = _unshared(one.layer), [_column(inner) for inner in one.sequences.values()]
    if isinstance(layer, Residual):
        skip: Block = Box([f"{one.name} projection", _numbers(one)], LEARNT) if one.n_parameters else Wire()
        return Branches([*sequences, skip], "+", straight=True)
    if isinstance(layer, Parallel) and layer.heads:
        ends = [Box([f"head {name}"], ENDS) for name in layer.heads]
        return Branches([Column(pair) for pair in zip(sequences, ends, strict=True)], None)
    if isinstance(layer, Parallel):
        return Branches(sequences, "+" if layer.combine == "add" else "‖")
    if isinstance(layer, Checkpoint):
        return Frame(sequences[0], f"{one.name} Checkpoint")
    shared = ", shared" if isinstance(one.layer, Shared) else ""
    return Box(
        [f"{one.name} {type(layer).__name__}{shared}", _settings(layer), _numbers(one)], LEARNT if one.shapes else PLAIN
    )


def _column(layers: tuple[LayerSummary, ...]) -> Block:
    return Column([_block(one) for one in layers]) if layers else Wire()


def _unshared(layer: Layer) -> Layer:
    return _unshared(layer.layer) if isinstance(layer, Shared) else layer


def _settings(layer: Layer) -> str:
    """Unit and dropout of a layer, as far as it has them."""
    activation = getattr(layer, "activation", "identity")
    words = [] if activation == "identity" else [activation if isinstance(activation, str) else repr(activation)]
    dropout = getattr(layer, "dropout", 0) or getattr(layer, "rate", 0)
    return ", ".join([*words, *([f"dropout {dropout:g}"] if dropout else [])])


def _numbers(one: LayerSummary) -> str:
    parameters = f", {one.n_parameters:,} parameters" if one.n_parameters else ""
    return f"{one.n_units:,} units{parameters}"
