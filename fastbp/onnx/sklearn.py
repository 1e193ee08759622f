"""Converters and shape calculators of skl2onnx for the estimators and `Whitening`, registered by the import.

Labels, probabilities and their options are those of skl2onnx for scikit-learn's own classifiers; numbers are those that
the estimators' methods give.
"""

from copy import copy

import numpy as np
from onnx import TensorProto, helper
from skl2onnx import update_registered_converter, update_registered_parser
from skl2onnx._parse import sklearn_parsers_map
from skl2onnx.common.data_types import (
    BooleanTensorType,
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
    guess_tensor_type,
)
from skl2onnx.common.utils import check_input_and_output_numbers, check_input_and_output_types
from skl2onnx.common.utils_classifier import get_label_classes
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline

from ..estimators.classifier import MLPClassifier, is_multilabel
from ..estimators.fitted import model_of
from ..estimators.regressor import MLPRegressor
from ..losses import outputs_per_target
from ..preprocessing import Whitening
from .export import write, write_value
from .writer import Writer

OLDEST_OPSET = 13  # of which the rules for ops are
COMPOSITES = {Pipeline: "steps", FeatureUnion: "transformer_list", ColumnTransformer: "transformers_"}
INPUTS = [BooleanTensorType, DoubleTensorType, FloatTensorType, Int64TensorType]


class _Conversion:
    """The part of a graph that an estimator is.

    Parameters
    ----------
    scope, operator, container
        As skl2onnx hands them to a converter.
    """

    def __init__(self, scope, operator, container):
        if container.target_opset_onnx < OLDEST_OPSET:
            raise RuntimeError(f"target_opset must be at least {OLDEST_OPSET}, got {container.target_opset_onnx}")
        self.scope, self.operator, self.container = scope, operator, container
        self.writer = Writer(_type_of_numbers(operator)[1], scope.get_unique_variable_name)
        self.writer.layer = type(operator.raw_operator).__name__
        self.X = operator.inputs[0].full_name
        if not isinstance(operator.inputs[0].type, _type_of_numbers(operator)[0]):
            self.X = self.writer.node("Cast", self.X, to=self.writer.element_type)

    def predicted(self):
        """Name of what the estimator's network predicts."""
        (a,) = write(self.writer, model_of(self.operator.raw_operator), self.X)
        self.writer.layer = type(self.operator.raw_operator).__name__
        return a

    def end(self, *names):
        """Add everything, of which these names are the operator's outputs."""
        for name, output in zip(names, self.operator.outputs, strict=True):
            self.writer.rename(name, output.full_name)
        self.container.initializers.extend(self.writer.constants)
        for node in self.writer.nodes:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            self.container.add_node(
                node.op_type, list(node.input), list(node.output),
                name=self.scope.get_unique_operator_name(node.name), **attributes,
            )  # fmt: skip


def _type_of_numbers(operator):
    """skl2onnx's type of a graph's numbers, and NumPy's: double if the inputs are, else float."""
    if isinstance(operator.inputs[0].type, DoubleTensorType):
        return DoubleTensorType, np.float64
    return FloatTensorType, np.float32


def _check(operator, n_outputs):
    check_input_and_output_numbers(operator, input_count_range=1, output_count_range=n_outputs)
    check_input_and_output_types(operator, good_input_types=INPUTS)


# ---- classifier -----------------------------------------------------------------------------------------------------


def _labels(scope, classifier):
    """The classes as int64 or str, as a graph has them."""
    classes = np.asarray(get_label_classes(scope, classifier))
    if len(classes) < 2:
        raise ValueError(f"a classifier must have at least two classes for ONNX, got {classifier.classes_}")
    return classes.astype(np.int64 if classes.dtype.kind in "biuf" else str)


def _classifier_shapes(operator):
    _check(operator, 2)
    n, classifier = operator.inputs[0].get_first_dimension(), operator.raw_operator
    labels = _labels(operator.scope_inst, classifier)
    kind = StringTensorType if labels.dtype.kind == "U" else Int64TensorType
    operator.outputs[0].type = kind([n, len(labels)] if is_multilabel(classifier) else [n])
    operator.outputs[1].type = _type_of_numbers(operator)[0]([n, len(labels)])


def _convert_classifier(scope, operator, container):
    classifier, conversion = operator.raw_operator, _Conversion(scope, operator, container)
    w, a, labels = conversion.writer, conversion.predicted(), _labels(scope, classifier)
    if is_multilabel(classifier):
        above = w.node("Greater", a, w.constant("half", 0.5))
        conversion.end(w.node("Cast", above, to=TensorProto.INT64), a)
        return
    probabilities = a
    if classifier.n_outputs_ == 1:
        probabilities = w.node("Concat", w.node("Sub", w.constant("one", 1.0), a), a, axis=1)
    elif classifier.out_activation_ == "logistic":  # as `MLPClassifier.predict_proba` has it
        total = w.node("ReduceSum", a, w.constant("axes", [1]))
        shares, equal = w.node("Div", a, total), w.constant("equal", 1 / len(labels))
        probabilities = w.node("Where", w.node("Greater", total, w.constant("zero", 0.0)), shares, equal)
    index = w.node("ArgMax", probabilities if classifier.n_outputs_ == 1 else a, axis=1, keepdims=0)
    conversion.end(w.node("Gather", w.constant("classes", labels), index), probabilities)


# ---- regressor ------------------------------------------------------------------------------------------------------


def _parse_regressor(scope, regressor, inputs, custom_parsers=None):
    """Predictions, and with the option "return_std" standard deviations too."""
    operator = scope.declare_local_operator("FastbpMLPRegressor", regressor)
    operator.inputs = inputs
    returns_std = scope.get_options(regressor, {"return_std": False})["return_std"]
    for name in ("variable", "std") if returns_std else ("variable",):
        operator.outputs.append(scope.declare_local_variable(name, guess_tensor_type(inputs[0].type)))
    return operator.outputs


def _regressor_shapes(operator):
    _check(operator, [1, 2])
    n, (loss, n_targets, n_groups) = operator.inputs[0].get_first_dimension(), _targets(operator.raw_operator)
    shape = [n, n_targets]
    if n_groups > 1 and loss != "gaussian":
        shape = [n, n_groups] if n_targets == 1 else [n, n_targets, n_groups]
    for output in operator.outputs:
        output.type = _type_of_numbers(operator)[0](shape)


def _targets(regressor):
    """Loss, number of targets, and of outputs for each of them."""
    model = model_of(regressor)
    n_groups = outputs_per_target(model.loss)
    return model.loss, model.outputs[0].n_predicted // n_groups, n_groups


def _convert_regressor(scope, operator, container):
    regressor, conversion = operator.raw_operator, _Conversion(scope, operator, container)
    w, a, (loss, n_targets, n_groups) = conversion.writer, conversion.predicted(), _targets(regressor)
    if loss == "gaussian":
        mean, log_variance = (w.columns(a, i * n_targets, (i + 1) * n_targets) for i in range(2))
        std = w.node("Exp", w.node("Mul", log_variance, w.constant("half", 0.5)))
        conversion.end(*[mean, std][: len(operator.outputs)])
        return
    if len(operator.outputs) > 1:
        raise ValueError(f"return_std must be False unless loss='gaussian', got True with {loss!r}")
    if n_groups > 1 < n_targets:
        a = w.node("Transpose", w.node("Reshape", a, w.constant("shape", [0, n_groups, n_targets])), perm=[0, 2, 1])
    conversion.end(a)


# ---- whitening ------------------------------------------------------------------------------------------------------


def _whitening_shapes(operator):
    _check(operator, 1)
    shape = [operator.inputs[0].get_first_dimension(), len(operator.raw_operator.components_)]
    operator.outputs[0].type = _type_of_numbers(operator)[0](shape)


def _convert_whitening(scope, operator, container):
    conversion, whitening = _Conversion(scope, operator, container), operator.raw_operator
    w = conversion.writer
    centred = w.node("Sub", conversion.X, w.constant("mean", whitening.mean_))
    conversion.end(w.node("MatMul", centred, w.constant("components", whitening.components_.T)))


# ---- estimators that transform --------------------------------------------------------------------------------------


class _Hidden(BaseEstimator):
    """What the `transform` of an estimator is, where others take that and skl2onnx would pass on what it predicts."""

    def __init__(self, mlp):
        self.mlp = mlp


def _transforming(estimator, last=True):
    """What skl2onnx is to convert in the place of a transformer, or of a composite of some, of a pipeline without the
    last step unless `last`."""
    if isinstance(estimator, MLPClassifier | MLPRegressor):
        return _Hidden(estimator)
    name = COMPOSITES.get(type(estimator))
    if name is None:
        return estimator
    parts = getattr(estimator, name)
    new = [
        (key, part if part is parts[-1][1] and not last else _transforming(part), *rest)
        for key, part, *rest in parts
    ]  # fmt: skip
    if all(a[1] is b[1] for a, b in zip(new, parts, strict=True)):
        return estimator
    estimator = copy(estimator)
    setattr(estimator, name, new)
    return estimator


def _register_parser(composite):
    parse = sklearn_parsers_map[composite]

    def parse_transforming(scope, model, inputs, custom_parsers=None):
        return parse(scope, _transforming(model, composite is not Pipeline), inputs, custom_parsers=custom_parsers)

    update_registered_parser(composite, parse_transforming)


def _hidden_shapes(operator):
    _check(operator, 1)
    model = model_of(operator.raw_operator.mlp)
    n = model.graph.values[_last_hidden(model)].n
    operator.outputs[0].type = _type_of_numbers(operator)[0]([operator.inputs[0].get_first_dimension(), n])


def _convert_hidden(scope, operator, container):
    conversion, model = _Conversion(scope, operator, container), model_of(operator.raw_operator.mlp)
    conversion.end(write_value(conversion.writer, model, conversion.X, _last_hidden(model)))


def _last_hidden(model):
    """Number of the value that `transform` gives."""
    return [value.name for value in model.graph.values].index(str(len(model.layers) - 2))


for kind in COMPOSITES:
    _register_parser(kind)
update_registered_converter(_Hidden, "FastbpHiddenLayer", _hidden_shapes, _convert_hidden)
update_registered_converter(
    MLPClassifier, "FastbpMLPClassifier", _classifier_shapes, _convert_classifier,
    options={"zipmap": [True, False, "columns"], "nocl": [True, False], "output_class_labels": [False, True]},
)  # fmt: skip
update_registered_converter(
    MLPRegressor, "FastbpMLPRegressor", _regressor_shapes, _convert_regressor, parser=_parse_regressor,
    options={"return_std": [False, True]},
)  # fmt: skip
update_registered_converter(Whitening, "FastbpWhitening", _whitening_shapes, _convert_whitening)
