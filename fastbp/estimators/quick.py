"""`partial_fit` of few plain rows, which may come a thousand times a second.

The long way validates parameters and data, keeps copies to go back to and asks for callbacks, which takes half a
millisecond where a step takes a few microseconds. As long as no parameter has changed since a call that went it, a
small batch of plain arrays can only be refused for what is looked at here. If anything is unusual, or the step would
make something that is not finite, nothing has changed and the long way is to be gone, which says what is wrong.
"""

import math
import operator

import numpy as np

from .. import threads
from ..undo import Undo
from .inputs import is_plain
from .training import look_for_convergence, record_epoch, train_epoch

MOST_ROWS = 200  # of what batch_size="auto" takes as one batch
RECORDED = "n_iter_", "t_", "converged_", "loss_", "best_loss_", "_no_improvement_count"  # what a call binds anew


class Quick:
    """What a call of `partial_fit` that went the long way leaves for the next: parameters and network."""

    def __init__(self, mlp, model):
        self.model = model
        parameters = mlp.get_params(deep=False)
        self.get, self.values = operator.itemgetter(*parameters), tuple(parameters.values())
        self.lists = [(value, list(value)) for value in self.values if type(value) is list]  # which may change

    @classmethod
    def of(cls, mlp, model):
        """None if calls of this estimator can't go the short way."""
        usual = (
            not mlp.early_stopping and not mlp.verbose and not model.is_random
            and getattr(mlp, "class_weight", None) is None and mlp.prune is None
            and not (mlp.average is not None and model.follows_steps)
        )  # fmt: skip
        return cls(mlp, model) if usual else None

    def knows(self, mlp):
        """Whether the estimator is as it was found."""
        attributes = vars(mlp)
        return (
            "_skl_callbacks" not in attributes
            and all(map(operator.is_, self.get(attributes), self.values))
            and all(value == before for value, before in self.lists)
            and mlp._model(train=True) is self.model
        )


def partial_fit(mlp, *args, **kwargs):
    """Train for one epoch of one batch, if that is all there is to it; whether it was done."""
    quick = vars(mlp).get("_quick")
    if quick is None or len(args) != 2 or not (kwargs.keys() <= {"classes"}):
        return False
    X, y = args
    if type(X) is not np.ndarray or type(y) is not np.ndarray or X.ndim == 0 or y.ndim == 0 or len(y) != len(X):
        return False
    n, model = len(X), quick.model
    whole = n <= MOST_ROWS if mlp.batch_size == "auto" else n == mlp.batch_size
    if not whole or not is_plain(mlp, X):
        return False
    classes = kwargs.get("classes")
    if classes is not None and not np.array_equal(classes, vars(mlp).get("classes_")):
        return False
    if X.dtype != model.dtype or not quick.knows(mlp):
        return False
    target = mlp._encode_plain(y)
    if target is None or mlp._n_outputs(target) != mlp.n_outputs_:
        return False
    data, before = model.check_rows(X, target).data(), math.inf
    with threads.exclusive(model.engine), Undo(lambda error: model.optimizer_state.t[0] > before) as undo:
        undo.save_attributes(mlp, RECORDED)
        undo.save_length(mlp.loss_curve_)
        undo.save_attributes(mlp._optimizer)
        undo.save_attribute(model.optimizer_state, "average")
        before = model.optimizer_state.t[0]
        record, loss = train_epoch(mlp, model, data, None, n, guarded=True)
        if loss != loss:  # NaN
            return False
        mlp.n_iter_, mlp.converged_ = 0, False
        record_epoch(mlp, model, record, n, n, None)
        look_for_convergence(mlp, None)
    return True
