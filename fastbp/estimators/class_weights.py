"""Weights of classes as weights of rows."""

import numpy as np

from ..checks import check_real


def class_weighting(setting, classes, kind, target, weight):
    """Function (target, weight) -> weight times the class weights, learnt from these rows.

    Parameters
    ----------
    setting : dict, list of dict, 'balanced' or None
        The parameter `class_weight`.
    classes : ndarray of shape (n_classes,)
    kind : str
        Of y, as scikit-learn's `type_of_target` names it.
    target, weight : ndarray
        Of the training rows.
    """
    if setting is None:
        return lambda target, weight: weight

    def columns(target):
        target = target.argmax(axis=1) if target.ndim == 2 and kind == "multiclass" else target
        return [target] if target.ndim == 1 else list(target.T.astype(np.intp))

    n = len(columns(target))
    multilabel = kind.startswith("multilabel")
    if setting != "balanced" and isinstance(setting, list) != multilabel:
        raise ValueError(
            "class_weight must be a list of dicts or 'balanced' for multilabel y, a dict or"
            f" 'balanced' for other y, got {setting!r}."
        )
    if multilabel and setting != "balanced" and len(setting) != n:
        raise ValueError(f"class_weight has {len(setting)} elements, but y has {n} labels.")
    classes = np.arange(2) if multilabel else classes
    tables = []
    for k, column in enumerate(columns(target)):
        if setting == "balanced":
            count = np.bincount(column, weights=weight, minlength=len(classes))
            seen = count > 0
            table = np.zeros(len(classes))
            table[seen] = count.sum() / (seen.sum() * count[seen])
        else:
            factors = setting[k] if multilabel else setting
            weightless = [label for label in classes if label not in factors]
            if weightless and len(classes) - len(weightless) != len(factors):
                raise ValueError(
                    f"class_weight has labels that are not classes: the classes {np.array(weightless)} are not in"
                    f" class_weight, {factors!r}."
                )
            table = np.array([factors.get(label, 1) for label in classes])
            check_real("class_weight", table, TypeError)
        if not (np.isfinite(table) & (table >= 0)).all():
            raise ValueError(f"class_weight must be finite and not negative, got {setting!r}.")
        tables.append(table)

    def weigh(target, weight):
        weight = np.ones(len(target)) if weight is None else weight
        for table, column in zip(tables, columns(target), strict=True):
            weight = weight * table[column]
        return weight

    return weigh
