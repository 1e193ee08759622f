"""Networks in files, and to and from what other libraries read and write."""

from collections.abc import Mapping
from os import PathLike
from typing import IO, Any, Literal, Self

import numpy as np
from sklearn.utils import check_random_state

from ..losses import Loss
from . import files
from .model import Model

File = str | PathLike[str] | IO[bytes]


class Exchange:
    """Methods of `Network` for that."""

    _model: Model
    _random_state: np.random.RandomState

    def save(self, file: File) -> None:
        """Write settings, parameters, layers' state and what is pruned to an ``.npz`` file, not the optimizer's state.

        If the name of the file ends with ``.safetensors``, it is one of that format, with a tensor for each of the
        weights and biases by the names of layers, as "0.weight"; it needs ``pip install "fastbp[safetensors]"``.

        Parameters
        ----------
        file : str, path or file object
            A file that has this name is replaced when all is written: if that fails, or the process is killed, it is
            what it was.

        See Also
        --------
        load : Reads it.

        Examples
        --------
        >>> import fastbp
        >>> net = fastbp.Network([fastbp.Dense(8, "tanh"), fastbp.Dense(1)], n_inputs=2, random_state=0)
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     net.save(f"{folder}/net.npz")
        ...     again = fastbp.Network.load(f"{folder}/net.npz")
        >>> bool((again.parameters == net.parameters).all())
        True
        """
        files.save(file, self._model)

    @classmethod
    def load(cls, file: File) -> Self:
        """Read what `save` wrote, in either format. No code in the file is run.

        Parameters
        ----------
        file : str, path or file object
            What to read; a name that ends with ``.safetensors`` tells of that format.

        Returns
        -------
        net : Network

        Raises
        ------
        ValueError
            If the file is not one that `save` wrote.

        See Also
        --------
        save : Writes it.

        Examples
        --------
        >>> import fastbp
        >>> net = fastbp.Network([fastbp.Dense(8, "tanh"), fastbp.Dense(1)], n_inputs=2, random_state=0)
        >>> import io
        >>> file = io.BytesIO()
        >>> net.save(file)
        >>> again = fastbp.Network.load(io.BytesIO(file.getvalue()))
        >>> bool((again.parameters == net.parameters).all())
        True
        """
        net = cls.__new__(cls)
        net._model = files.load(file)
        net._random_state = check_random_state(None)
        return net

    def to_onnx(self) -> Any:
        """The network as an ONNX model, which ONNX Runtime and many others run: what `predict` computes.

        Its input "X" has shape (n_samples, n_inputs) and the network's dtype; its output is "output", or one for each
        head with that name. It needs the package onnx: ``pip install "fastbp[onnx]"``.

        Returns
        -------
        model : onnx.ModelProto
            Of operator set 20. ``onnx.save(model, file)`` writes it to a file.

        See Also
        --------
        from_onnx : The way back.
        fastbp.onnx : Registers converters of the estimators and `Whitening` for skl2onnx.

        Notes
        -----
        Results agree to rounding. Weights that are shared are there once. Random numbers, penalties and all else that
        belongs to training has no place in an ONNX model; `save` writes the whole network.

        Examples
        --------
        >>> import fastbp
        >>> net = fastbp.Network([fastbp.Dense(3, "tanh"), fastbp.Dense(1)], n_inputs=2, random_state=0)
        >>> [node.op_type for node in net.to_onnx().graph.node]
        ['Gemm', 'Tanh', 'Gemm']
        """
        from ..onnx import to_onnx

        return to_onnx(self._model)

    @classmethod
    def from_onnx(
        cls,
        model: Any,
        *,
        loss: Loss | Literal["auto"] | Mapping[str, Loss | Literal["auto"] | None] | None = "auto",
    ) -> Self:
        """A network that computes what an ONNX model does, to predict with or to train on.

        It takes what `to_onnx` writes, and models of other libraries as far as there are layers here for what is in
        them: products, units whatever they are made of, normalisations, sums and concatenations of branches. Of
        embeddings it takes those that `to_onnx` writes.

        Parameters
        ----------
        model : onnx.ModelProto, str, path or file object
            With one input (n_samples, n_inputs) of float32 or float64, which is then the network's dtype. Several
            outputs become heads. No code in a file is run.
        loss : str, object, dict of them or None, default="auto"
            As of `Network`. A loss that has an output unit of its own takes that of the model for it, or an output
            without a unit for logits: `predict` then gives probabilities. "auto" is "softmax_cross_entropy",
            "cross_entropy", "poisson" or "perceptron" where the output has the unit of that loss, else "squared_error".

        Returns
        -------
        net : Network

        Raises
        ------
        ValueError
            If there is something in the model that no layer does, with the name of its node.

        See Also
        --------
        to_onnx : The way there.

        Notes
        -----
        What a graph doesn't tell is lost: penalties, dropout, initializers, masks, and which of several ways to write
        the same function it was. Products without a bias get one that is 0, which learns; the `sigma` of a `Periodic`
        is that of its frequencies as they are.

        Examples
        --------
        >>> import fastbp
        >>> net = fastbp.Network([fastbp.Dense(3, "tanh"), fastbp.Dense(1)], n_inputs=2, random_state=0)
        >>> again = fastbp.Network.from_onnx(net.to_onnx())
        >>> again.layers == net.layers, bool((again.parameters == net.parameters).all())
        (True, True)
        """
        from ..onnx import from_onnx

        return from_onnx(cls, model, loss)
