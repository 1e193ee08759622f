"""What a network tells of itself: settings, layers, parameters."""

from __future__ import annotations

import inspect
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ..hints import Matrix
from ..names import OptimizerName
from ..optimizers import SAM, UpdateRule
from ..settings import called
from .attributes import Attributes
from .plan import Plan, plan_of
from .summary import LayerParameters, Summary, summary_of, unflattened

ALWAYS = ("layers", "n_inputs", "loss", "dtype")  # shown also where they are what they are by default


class Description(Attributes):
    """Methods of `Network` that show what it consists of."""

    def __repr__(self) -> str:
        settings = {}
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value = getattr(self, name, parameter.default)  # but for random_state, which is drawn from
            if name in ALWAYS or value != parameter.default:
                settings[name] = value
        return called(type(self).__name__, settings | {"layers": list(self.layers), "dtype": self.dtype.name})

    def _repr_html_(self) -> str:
        from ..display import ArchitectureDisplay

        summary = self.summary()
        drawing = ArchitectureDisplay(summary=summary).svg
        return f"{summary._repr_html_()}<details><summary>Architecture</summary>{drawing}</details>"

    def summary(self) -> Summary:
        """The layers by name with the shapes of their parameters, and how many these are.

        Returns
        -------
        summary : Summary
            Printed, or shown in a notebook, it is a table with a line for each layer. Its attributes are `layers`,
            each with `name`, `layer`, `n_units`, `shapes`, `n_parameters`, `n_bytes`, `n_state` and `sequences`, the
            layers within it, and the totals `n_parameters`, `n_bytes`, `n_state` and `n_masked`.

        See Also
        --------
        program : What a call computes with these layers, step by step.
        fastbp.display.ArchitectureDisplay : The layers as a drawing.

        Examples
        --------
        >>> import fastbp
        >>> layers = [fastbp.Dense(100, "relu"), fastbp.Residual([fastbp.Dense(100, "tanh")]), fastbp.Dense(10)]
        >>> net = fastbp.Network(layers, n_inputs=784, loss="softmax_cross_entropy", dtype="float32")
        >>> net.summary()
        Network: 784 inputs, loss softmax_cross_entropy, float32
        ---------------------------------------------------------------------------------------------
        name  layer                                    units  weights     biases  parameters    bytes
        ---------------------------------------------------------------------------------------------
        0     Dense(n_units=100, activation='relu')      100  (784, 100)  (100,)      78,500  314,000
        1     Residual                                   100
        1.0     Dense(n_units=100, activation='tanh')    100  (100, 100)  (100,)      10,100   40,400
        2     Dense(n_units=10)                           10  (100, 10)   (10,)        1,010    4,040
        ---------------------------------------------------------------------------------------------
              total                                                                   89,610  358,440
        """
        return summary_of(self._model)

    def program(
        self,
        mode: Literal["train", "gradient", "loss", "predict", "forward", "backward"] = "train",
        *,
        batch_size: int = 32,
        n_threads: int = 1,
        X: Matrix | None = None,
        optimizer: UpdateRule | SAM | OptimizerName | None = None,
    ) -> Plan:
        """What a call would run, to be read: ops, how threads share them, where they wait for each other, memory.

        The bits of results do not depend on what is chosen for the number of threads.

        Parameters
        ----------
        mode : {"train", "gradient", "loss", "predict", "forward", "backward"}, default="train"
            "train" is a step of `fit`, but for what a layer's `max_norm` and an average add; "gradient" is
            `value_and_gradient`, "loss" that without the gradient.
        batch_size : int, default=32
            Rows of a batch; in modes other than "train" all rows, if X is None.
        n_threads : int, default=1
            As in `fit`, but not bounded by the number of processors.
        X : {array-like, sparse matrix} of shape (n_samples, n_inputs), default=None
            Data, whose layout, zeros and number of rows have a say. None is for dense data without zeros of the
            network's dtype, enough of it for all threads.
        optimizer : SGD, Adam, AdamW, RMSProp, Adagrad, SAM or str, default=None
            As in `fit`, for mode "train". None is that of the last step, and `SGD` before the first.

        Returns
        -------
        program : Plan
            As a string it is all that. Its attributes are `phases`, each with `ops`, `split` and `barrier`, and
            `n_barriers`, `x_as_nonzeros`, `x_in_place`, `halved`, `chunk`, `sides`, `n_threads` and `workspace_size`.

        Raises
        ------
        ValueError
            If an argument does not fit, or the network has no loss for the mode.

        See Also
        --------
        summary : The layers and their parameters.
        fit : Runs it.

        Examples
        --------
        >>> import fastbp
        >>> net = fastbp.Network([fastbp.Dense(100, "relu"), fastbp.Dense(10)], n_inputs=784, dtype="float32")
        >>> program = net.program("train", n_threads=2)
        >>> [phase.split for phase in program.phases], program.n_barriers
        (['columns', 'rows', 'alone', 'weights'], 2)
        """
        return plan_of(self._model, mode, batch_size, n_threads, X, optimizer)

    def unflatten(self, vector: ArrayLike) -> dict[str, LayerParameters]:
        """A flat vector in the order of `parameters`, such as a gradient, layer by layer.

        Parameters
        ----------
        vector : array-like of shape (n_parameters,)
            Real numbers.

        Returns
        -------
        parts : dict of LayerParameters
            Tuples ``(weights, biases)`` of arrays by the names of layers, as `activations` has them: of layer 2 "2", of
            the first layer within it "2.0", of a projection "2.projection", of U of a `LowRank` "2.reduced"; of the
            table of an `Embed` for column 3 of X "0.3". They have the shapes, and the order, of the network's `weights`
            and `biases`, and are views of the vector if it is an array; ``biases`` is None where there are none.

        Raises
        ------
        ValueError
            If the vector has another shape or does not hold real numbers.

        See Also
        --------
        value_and_gradient : Its gradient is such a vector.
        summary : The shapes by the same names.

        Examples
        --------
        >>> import fastbp
        >>> net = fastbp.Network([fastbp.Dense(3, "tanh"), fastbp.Dense(1)], n_inputs=2, random_state=0)
        >>> cost, gradient = net.value_and_gradient([[0.5, 0.1]], [1.0])
        >>> {name: part.weights.shape for name, part in net.unflatten(gradient).items()}
        {'0': (2, 3), '1': (3, 1)}
        """
        vector = np.asarray(vector)
        if vector.dtype.kind not in "biuf" or vector.shape != self.parameters.shape:
            raise ValueError(
                f"vector must hold real numbers in shape {self.parameters.shape}, got dtype {vector.dtype}, shape "
                f"{vector.shape}"
            )
        return unflattened(self._model, vector)
