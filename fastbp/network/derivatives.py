"""What a network tells of its cost, and takes of one's own: gradients, Hessians, updates."""

import numpy as np
from sklearn.utils import assert_all_finite

from .. import threads
from ..checks import check_finite, check_real
from ..full_batch import FullBatch, GradientRule, Objective
from ..full_batch.hessian import MAX_PARAMETERS
from ..undo import Undo
from . import training
from .heads import arrays_of
from .inputs import contiguous


class Derivatives:
    """Methods of `Network` around its cost, or one's own, and its derivatives."""

    def value_and_gradient(self, X, y, sample_weight=None, *, penalty=False, n_threads=None):
        """The cost of the data and its gradient.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        penalty : bool, default=False
            Whether to add the L1 and L2 penalties, and that of ties, to both.
        n_threads : int, default=None

        Returns
        -------
        cost : float
        gradient : ndarray of shape (n_parameters,)
            In the order of `parameters`. The subgradient of ``|w|`` at 0 is 0.

        Raises
        ------
        ValueError
            If an argument has the wrong shape, dtype or values, or the network has no loss.
        """
        self._needs_loss("value_and_gradient")
        model = self._model
        rows, gradient = model.check_rows(X, y, sample_weight), np.empty_like(model.parameters)
        cost = model.evaluate(rows.data(), None, gradient, n_threads)
        check_finite(gradient if np.isfinite(cost) else cost, X=[X], y=arrays_of(y))
        return model.penalize(cost, gradient) if penalty else (cost, gradient)

    def hessian_vector_product(self, X, y, v, sample_weight=None, *, penalty=False):
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

        Returns
        -------
        Hv : ndarray of shape (n_parameters,)
            ``d/dr gradient(parameters + r v)`` at ``r = 0``. The second derivative of ReLU and the like is taken as 0.

        Raises
        ------
        ValueError
            If an argument has the wrong shape, dtype or values, or the network has no loss.

        References
        ----------
        B. Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6, 1994. The equations are in
        fastbp/full_batch/hessian.py.
        """
        self._needs_loss("hessian_vector_product")
        v = np.asarray(v)
        if v.dtype.kind not in "biuf" or v.shape != self.parameters.shape:
            raise ValueError(
                f"v must hold real numbers in shape {self.parameters.shape}, got dtype {v.dtype}, shape {v.shape}"
            )
        assert_all_finite(v, input_name="v")
        objective = Objective(self._model, self._model.check_rows(X, y, sample_weight))
        return check_finite(objective.hessian_product(penalty)(v), X=[X], y=arrays_of(y))

    def hessian(self, X, y, sample_weight=None, *, penalty=False):
        """The Hessian of the cost of the data, exact and symmetric. For small networks.

        Parameters
        ----------
        X, y, sample_weight, penalty
            As in `hessian_vector_product`.

        Returns
        -------
        H : ndarray of shape (n_parameters, n_parameters)
            In the order of `parameters`.

        Raises
        ------
        ValueError
            As in `hessian_vector_product`, and if there are more than 5000 parameters.
        """
        self._needs_loss("hessian")
        if self.parameters.size > MAX_PARAMETERS:
            raise ValueError(
                f"hessian is for networks of at most {MAX_PARAMETERS} parameters, got {self.parameters.size}; "
                "hessian_vector_product takes any"
            )
        objective = Objective(self._model, self._model.check_rows(X, y, sample_weight))
        return check_finite(objective.hessian(penalty), X=[X], y=arrays_of(y))

    def forward(self, X, *, n_threads=None):
        """Activations of the last layer, remembered together with all others for `backward`.

        They are kept in the network's one workspace, so that forward, backward, training and evaluation are for one
        thread at a time. `predict` and `save` are for any number of threads, also meanwhile, and for signal handlers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_inputs)
            Not to be changed before `backward`.
        n_threads : int, default=None

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
            If X does not fit.
        """
        return self._model.forward(X, n_threads)

    def backward(self, dz, *, n_threads=None):
        """Backpropagate the gradient of one's own cost.

        Parameters
        ----------
        dz : array-like of shape (n_samples, n_outputs) or dict of them
            ``dC/da``, where ``a`` is what the last `forward` returned.
        n_threads : int, default=None

        Returns
        -------
        gradient : ndarray of shape (n_parameters,)
            ``dC/d(parameters)``, without penalties.
        input_gradient : ndarray of shape (n_samples, n_inputs)
            ``dC/dX``.

        Raises
        ------
        RuntimeError
            Without a `forward` since the last call of anything that trains or evaluates; as in `forward`.
        ValueError
            If dz does not have the shape of what `forward` returned.
        """
        data = self._model.engine.kept
        if data is None:
            raise RuntimeError("backward needs a call of forward before it, with nothing trained or evaluated between")
        return self._model.backward(data, dz, n_threads)

    def step(self, gradient, optimizer):
        """One update of the parameters from a gradient of one's own.

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
        """
        training.check_optimizer(optimizer, self.dtype)
        if isinstance(optimizer, FullBatch) and not isinstance(optimizer, GradientRule):
            raise TypeError(
                "optimizer must be an SGD, Adam, AdamW, RMSProp, Adagrad, Rprop or Quickprop for step: "
                f"{type(optimizer).__name__} needs the cost too, which fit has, got {optimizer!r}"
            )
        if getattr(getattr(optimizer, "learning_rate", None), "per", "step") != "step":
            raise ValueError(
                f"step knows no epochs: learning_rate must be a number or a schedule with per='step', got "
                f"{optimizer.learning_rate!r}"
            )
        if isinstance(optimizer, FullBatch):
            optimizer.check(self._model)
        gradient = contiguous(check_real("gradient", gradient), self.dtype)
        if gradient.shape != self.parameters.shape:
            raise ValueError(f"gradient must have shape {self.parameters.shape}, got {gradient.shape}")
        assert_all_finite(gradient, input_name="gradient")
        model = self._model
        if not isinstance(optimizer, FullBatch):
            model.step(gradient, optimizer)
            return
        with threads.exclusive(model.engine), Undo() as undo:
            undo.save_attribute(model, "optimizer_state")
            undo.save_values(model.parameters)
            model.engine.forget()  # its activations are of other parameters
            state = model.optimizer_state = model.state_of(optimizer).copy()
            optimizer.update(model.parameters, model.penalize(0.0, gradient.copy())[1], *state.arrays, state.t)

    def _needs_loss(self, method):
        if self.loss is None:
            raise ValueError(f"{method} needs a network with a loss, this one has loss=None")
