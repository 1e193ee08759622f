"""What a network tells of its cost, and of a custom one: gradients, Hessians, updates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import assert_all_finite

from ..checks import check_finite, check_flag
from ..full_batch import Objective
from ..full_batch.hessian import MAX_PARAMETERS
from ..hints import Floats, Matrix, Outputs, Targets
from . import by_hand
from .heads import named
from .model import Model
from .rules import Optimizer


class Derivatives:
    """Methods of `Network` around its cost, or a custom one, and its derivatives."""

    _model: Model

    def value_and_gradient(
        self, X: Matrix, y: Targets, sample_weight: ArrayLike | None = None, *, penalty: bool = False,
        batch_statistics: bool = False, n_threads: int | None = None,
    ) -> tuple[float, Floats]:  # fmt: skip
        """The cost of the data and its gradient.

        For optimizers of other libraries, to check gradients, and to look at what the cost is like.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        penalty : bool, default=False
            Whether to add the L1 and L2 penalties, and that of ties, to both.
        batch_statistics : bool, default=False
            Whether `BatchNorm` takes mean and variance of these rows, as it does of a batch in training, all at once in
            memory then. Else it takes its moving averages, as in prediction. These stay as they are.
        n_threads : int, default=None
            None: those that are free; -1: all.

        Returns
        -------
        cost : float
        gradient : ndarray of shape (n_parameters,)
            In the order of `parameters`. The subgradient of ``|w|`` at 0 is 0.

        Raises
        ------
        ValueError
            If an argument has the wrong shape, dtype or values, or the network has no loss.

        See Also
        --------
        hessian_vector_product : Second derivatives.
        backward : The gradient of a custom loss.
        unflatten : The gradient layer by layer.

        Examples
        --------
        >>> import numpy as np
        >>> import fastbp
        >>> X, y = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([1.0, 1.0, 0.0])
        >>> net = fastbp.Network([fastbp.Dense(4, "tanh"), fastbp.Dense(1)], n_inputs=2, random_state=0)
        >>> cost, gradient = net.value_and_gradient(X, y)
        >>> gradient.shape == net.parameters.shape
        True

        A step of gradient descent by hand:

        >>> net.parameters[:] -= 0.1 * gradient
        >>> net.value_and_gradient(X, y)[0] < cost
        True
        """
        self._needs_loss("value_and_gradient")
        _check_flags(penalty, batch_statistics)
        model = self._model
        rows, gradient = model.check_rows(X, y, sample_weight), np.empty_like(model.parameters)
        cost = model.evaluate(rows.data(), None, gradient, n_threads, batch_statistics)
        check_finite(gradient if np.isfinite(cost) else cost, inputs=[("X", X), *named("y", y)])
        return model.penalize(cost, gradient) if penalty else (cost, gradient)

    def hessian_vector_product(
        self, X: Matrix, y: Targets, v: ArrayLike, sample_weight: ArrayLike | None = None, *, penalty: bool = False,
        batch_statistics: bool = False,
    ) -> Floats:  # fmt: skip
        """The Hessian of the cost of the data times a vector, exact, by Pearlmutter's R-operator.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        v : array-like of shape (n_parameters,)
            In the order of `parameters`.
        penalty : bool, default=False
            Whether to add the Hessian of the L2 penalty, ``l2`` on the diagonal for weights, and that of ties. That of
            ``|w|`` is 0.
        batch_statistics : bool, default=False
            As in `value_and_gradient`.

        Returns
        -------
        Hv : ndarray of shape (n_parameters,)
            ``d/dr gradient(parameters + r v)`` at ``r = 0``. The second derivative of ReLU and the like is taken as 0.

        Raises
        ------
        ValueError
            If an argument has the wrong shape, dtype or values, or the network has no loss.

        See Also
        --------
        hessian : The matrix itself.
        NewtonCG : An optimizer that is made of these.

        References
        ----------
        B. Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6, 1994. The equations are in
        fastbp/full_batch/hessian.py.

        Examples
        --------
        >>> import numpy as np
        >>> import fastbp
        >>> X, y = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([1.0, 1.0, 0.0])
        >>> net = fastbp.Network([fastbp.Dense(4, "tanh"), fastbp.Dense(1)], n_inputs=2, random_state=0)
        >>> v = np.ones(net.parameters.size)
        >>> bool(np.allclose(net.hessian_vector_product(X, y, v), net.hessian(X, y) @ v))
        True
        """
        self._needs_loss("hessian_vector_product")
        _check_flags(penalty, batch_statistics)
        v, shape = np.asarray(v), self._model.parameters.shape
        if v.dtype.kind not in "biuf" or v.shape != shape:
            raise ValueError(
                f"v must hold real numbers in shape {shape}, got dtype {v.dtype}, shape {v.shape}"
            )
        assert_all_finite(v, input_name="v")
        rows = self._model.check_rows(X, y, sample_weight)
        objective = Objective(self._model, rows, batch_statistics=batch_statistics)
        return check_finite(objective.hessian_product(penalty)(v), inputs=[("X", X), *named("y", y)])

    def hessian(
        self, X: Matrix, y: Targets, sample_weight: ArrayLike | None = None, *, penalty: bool = False,
        batch_statistics: bool = False,
    ) -> Floats:  # fmt: skip
        """The Hessian of the cost of the data, exact and symmetric. For small networks.

        Parameters
        ----------
        X, y, sample_weight, penalty, batch_statistics
            As in `hessian_vector_product`.

        Returns
        -------
        H : ndarray of shape (n_parameters, n_parameters)
            In the order of `parameters`.

        Raises
        ------
        ValueError
            As in `hessian_vector_product`, and if there are more than 5000 parameters.

        See Also
        --------
        hessian_vector_product : Its products with vectors, for networks of any size.
        Newton : An optimizer that takes it.

        Examples
        --------
        >>> import numpy as np
        >>> import fastbp
        >>> X, y = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([1.0, 1.0, 0.0])
        >>> net = fastbp.Network([fastbp.Dense(4, "tanh"), fastbp.Dense(1)], n_inputs=2, random_state=0)
        >>> H = net.hessian(X, y)
        >>> H.shape, bool(np.allclose(H, H.T))
        ((17, 17), True)
        """
        self._needs_loss("hessian")
        _check_flags(penalty, batch_statistics)
        if self._model.parameters.size > MAX_PARAMETERS:
            raise ValueError(
                f"hessian is for networks of at most {MAX_PARAMETERS} parameters, got {self._model.parameters.size}; "
                "hessian_vector_product takes any"
            )
        rows = self._model.check_rows(X, y, sample_weight)
        objective = Objective(self._model, rows, batch_statistics=batch_statistics)
        return check_finite(objective.hessian(penalty), inputs=[("X", X), *named("y", y)])

    def forward(self, X: Matrix, *, out: Outputs | None = None, n_threads: int | None = None) -> Outputs:
        """Activations of the last layer, remembered together with all others for `backward`.

        The first of the three calls that a custom loss takes; `backward` and `step` follow.

        `BatchNorm` takes its moving averages here, which nothing but `fit` and `partial_fit` changes.

        They are kept in the network's one workspace, so that forward, backward, training and evaluation are for one
        thread at a time. `predict` and `save` are for any number of threads, also meanwhile, and for signal handlers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_inputs)
            Not to be changed before `backward`.
        out : ndarray of shape (n_samples, n_outputs) or dict of them, default=None
            For the result: C-contiguous, of the network's dtype.
        n_threads : int, default=None
            None: those that are free; -1: all.

        Returns
        -------
        a : ndarray of shape (n_samples, n_outputs) or dict of them
            Without the output unit that a loss from logits brings along. Of several heads a dict by their names.

        Raises
        ------
        RuntimeError
            If the network is being trained or evaluated, or in `forward` or `backward`: by another thread, or by a call
            that a signal's handler has interrupted to call this one.
        ValueError
            If X or out does not fit.

        See Also
        --------
        backward : The gradient of a custom loss.
        predict : Faster, where there is no gradient to follow.

        Examples
        --------
        >>> import numpy as np
        >>> import fastbp
        >>> X, y = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([1.0, 1.0, 0.0])
        >>> net = fastbp.Network([fastbp.Dense(4, "tanh"), fastbp.Dense(1)], n_inputs=2, loss=None, random_state=0)
        >>> net.forward(X).shape
        (3, 1)
        """
        return by_hand.forward(self._model, X, out, n_threads)

    def backward(
        self, dz: Targets, *, out: tuple[Floats, Floats | None] | None = None, n_threads: int | None = None
    ) -> tuple[Floats, Floats | Any]:
        """Backpropagate the gradient of a custom loss.

        Parameters
        ----------
        dz : array-like of shape (n_samples, n_outputs) or dict of them
            ``dC/da``, where ``a`` is what the last `forward` returned.
        out : tuple (gradient, input_gradient), default=None
            Arrays for the results, C-contiguous, of the network's dtype. None in the place of the second: it is not
            computed.
        n_threads : int, default=None
            None: those that are free; -1: all.

        Returns
        -------
        gradient : ndarray of shape (n_parameters,)
            ``dC/d(parameters)``, without penalties.
        input_gradient : ndarray of shape (n_samples, n_inputs), or None
            ``dC/dX``.

        Raises
        ------
        RuntimeError
            Without a `forward` since the last call of anything that trains or evaluates; as in `forward`.
        ValueError
            If dz does not have the shape of what `forward` returned, or out does not fit.

        See Also
        --------
        forward : Comes before.
        step : Makes an update of the gradient.
        step_with : All three in one.

        Examples
        --------
        The loss ``log cosh(a - y)``, averaged over rows, whose derivative is a ``tanh``:

        >>> import numpy as np
        >>> import fastbp
        >>> X, y = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([1.0, 1.0, 0.0])
        >>> net = fastbp.Network([fastbp.Dense(4, "tanh"), fastbp.Dense(1)], n_inputs=2, loss=None, random_state=0)
        >>> for _ in range(200):
        ...     a = net.forward(X)
        ...     gradient, input_gradient = net.backward(np.tanh(a - y[:, None]) / len(X))
        ...     net.step(gradient, fastbp.Adam(0.05))
        >>> bool(np.abs(net.predict(X).ravel() - y).max() < 0.1)
        True
        """
        return by_hand.backward(self._model, dz, out, n_threads)

    def step_with(
        self, X: Matrix, output_gradient: Callable[[Any], Targets], optimizer: Optimizer, *,
        n_threads: int | None = None,
    ) -> Outputs:  # fmt: skip
        """One update for a custom loss: `forward`, `backward` and `step` in one, for streams of small batches.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_inputs)
            A batch, read in place as in `fit`.
        output_gradient : callable
            From outputs ``a``, as `forward` returns them, to ``dC/da``, as `backward` takes it. It may call `predict`,
            but nothing that trains or evaluates the network.
        optimizer : SGD, Adam, AdamW, RMSProp, Adagrad, Rprop or Quickprop
            As in `step`.
        n_threads : int, default=None
            None: those that are free; -1: all.

        Returns
        -------
        a : ndarray of shape (n_samples, n_outputs) or dict of them
            The outputs before the update.

        Raises
        ------
        RuntimeError
            As in `forward`.
        TypeError, ValueError
            As in `forward`, `backward` and `step`; the network is as it was.

        See Also
        --------
        partial_fit : The same for the network's own loss.
        backward : Has the gradient with respect to inputs, too.

        Examples
        --------
        Temporal differences (R. Sutton, 1988), ``V(s) <- V(s) + eta (r + gamma V(s') - V(s))``:

        >>> import numpy as np
        >>> import fastbp
        >>> V = fastbp.Network([fastbp.Dense(16, "tanh"), fastbp.Dense(1)], n_inputs=4, loss=None, random_state=0)
        >>> s, s_next, r = np.ones((1, 4)), np.zeros((1, 4)), 1.0
        >>> before = V.step_with(s, lambda v: v - (r + 0.9 * V.predict(s_next)), fastbp.SGD(0.1))
        >>> bool(abs(V.predict(s) - r) < abs(before - r))
        True
        """
        return by_hand.step_with(self._model, X, output_gradient, optimizer, n_threads)

    def step(self, gradient: ArrayLike, optimizer: Optimizer) -> None:
        """One update of the parameters from a gradient that is given.

        Parameters
        ----------
        gradient : array-like of shape (n_parameters,)
            Of the cost without penalties, which the update adds.
        optimizer : SGD, Adam, AdamW, RMSProp, Adagrad, Rprop or Quickprop
            Its state goes on from the last step, if that was by the same rule, and with it the position in a learning
            rate's schedule, which must be one that moves per step: there are no epochs here.

        Raises
        ------
        TypeError
            If optimizer is a rule that needs more than a gradient.
        ValueError
            If gradient does not have the shape of `parameters` or is not finite, or the schedule moves per epoch.

        See Also
        --------
        backward : Makes such a gradient.
        step_with : `forward`, `backward` and this in one.

        Examples
        --------
        >>> import fastbp
        >>> net = fastbp.Network([fastbp.Dense(8, "tanh"), fastbp.Dense(1)], n_inputs=2, random_state=0)
        >>> before = net.parameters.copy()
        >>> net.step(net.value_and_gradient([[0.0, 1.0]], [1.0])[1], fastbp.SGD(0.1))
        >>> bool((net.parameters != before).any())
        True
        """
        by_hand.step(self._model, gradient, optimizer)

    def _needs_loss(self, method: str) -> None:
        if self._model.loss is None:
            raise ValueError(f"{method} needs a network with a loss, this one has loss=None")


def _check_flags(penalty, batch_statistics):
    check_flag("penalty", penalty)
    check_flag("batch_statistics", batch_statistics)
