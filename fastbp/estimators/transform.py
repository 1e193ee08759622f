"""A hidden layer's output as features."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ..hints import Floats, Matrix
from .inputs import check_X


class HiddenLayerTransformMixin(ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Makes an estimator a transformer to what a hidden layer of its network makes of X."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def transform(self, X: Matrix, layer: int | str = -1) -> Floats:
        """Output of a hidden layer, a representation of X that was learnt.

        As a step of a pipeline, the estimator passes on what the last hidden layer makes; a pipeline hands `layer` down
        where scikit-learn's metadata routing is enabled, and `set_transform_request` asked for it. Nothing is dropped,
        as in `predict`, and what comes after the layer is not computed.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to predict from, scaled as those of `fit`.
        layer : int or str, default=-1
            Index of a hidden layer, -1 being the last one; or the name of one, those within layers among them, as in
            `Network.activations`: "0", "1.0", "1.projection".

        Returns
        -------
        a : ndarray of shape (n_samples, n_units)
            The layer's activations. Where `set_output` asks for a data frame, its names are those of
            `get_feature_names_out`, which are for the last hidden layer; others must have as many units then.

        Raises
        ------
        ValueError
            If X is unusable, or there is no such layer.

        See Also
        --------
        Network.activations : Those of all layers at once.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from fastbp import MLPClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> clf = MLPClassifier((16, 2), solver="lbfgs", max_iter=1000, random_state=0).fit(X, y)
        >>> clf.transform(X).shape, clf.transform(X, layer=0).shape
        ((150, 2), (150, 16))
        """
        X = check_X(self, X)
        model = self._model()
        return model.layer_output(X, _name_of(model, layer), n_threads=self.n_threads)

    @property
    def _n_features_out(self):
        check_is_fitted(self)
        try:
            model = self._model()
            name = _name_of(model, -1)
        except ValueError as error:  # no hidden layers, or attributes set by hand that don't fit
            raise AttributeError(str(error)) from error
        return next(value.n for value in model.graph.values if value.name == name)


def _name_of(model, layer):
    """Name of the hidden layer; ValueError if there is none."""
    n_hidden = len(model.layers) - 1
    names = [value.name for value in model.graph.values[1:-1]]
    if isinstance(layer, Integral) and not isinstance(layer, bool) and -n_hidden <= layer < n_hidden:
        return str(layer % n_hidden)
    if isinstance(layer, str) and layer in names:
        return layer
    raise ValueError(
        f"layer must be an index of one of the {n_hidden} hidden layers, or one of the names {names}, got {layer!r}"
    )
