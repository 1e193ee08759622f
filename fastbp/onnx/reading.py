"""An ONNX graph, to be understood: what makes its tensors, what is constant, and what all paths to a tensor share."""

import os
from collections import Counter, defaultdict
from contextlib import suppress

import numpy as np
import onnx
from onnx import TensorProto, checker, helper, inliner, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

DTYPES = {TensorProto.FLOAT: "float32", TensorProto.DOUBLE: "float64"}
# Of constants these are computed: what other libraries' files have on the way from a tensor to its use.
FOLDED = {
    "Add", "Cast", "Concat", "Constant", "Div", "Exp", "Mul", "Neg", "Reshape", "Sqrt", "Squeeze", "Sub", "Transpose",
    "Unsqueeze",
}  # fmt: skip


def load_model(model):
    """The model, read if it is a file; ValueError unless it is one that ONNX's checker accepts."""
    if not isinstance(model, onnx.ModelProto):
        if not (isinstance(model, str | os.PathLike) or hasattr(model, "read")):
            raise ValueError(f"model must be an onnx.ModelProto, a path or a file object, got {type(model).__name__}")
        source = model
        try:
            model = onnx.load(source)
        except OSError:
            raise
        except Exception as error:  # protobuf's, and ONNX's of data in other files
            raise ValueError(f"model must be an ONNX model, got {source!r}: {error}") from error
    try:
        checker.check_model(model)
        return shape_inference.infer_shapes(inliner.inline_local_functions(model))
    except Exception as error:
        raise ValueError(f"model must be a valid ONNX model: {error}") from error


class Reader:
    """The graph of a model.

    Parameters
    ----------
    model : onnx.ModelProto
        As `load_model` returns it.

    Attributes
    ----------
    X : str
        Name of the input.
    n_inputs : int
    dtype : str
        "float32" or "float64".
    outputs : dict of str
        Names of tensors, by the names of outputs.
    nodes : dict of NodeProto
        By the names of the tensors that they make, each after those that it reads.
    constants : dict of ndarray
    readers : Counter
        How often nodes and outputs read a tensor.

    Raises
    ------
    ValueError
        If the model has not one input, a matrix of floating-point numbers.
    """

    def __init__(self, model):
        graph = model.graph
        self.opsets = list(model.opset_import)
        self.constants = {tensor.name: _array(tensor) for tensor in graph.initializer}
        self._set_input([value for value in graph.input if value.name not in self.constants])
        shapes = {value.name: _shape_of(value) for value in (*graph.input, *graph.value_info, *graph.output)}
        self._widths = {name: shape[1] for name, shape in shapes.items() if len(shape) == 2}
        self.nodes, self._same = {}, {}
        for node in graph.node:
            self._add(node)
        self.outputs = {output.name: self._same.get(output.name, output.name) for output in graph.output}
        self.readers = Counter(self.outputs.values())
        for node in {id(node): node for node in self.nodes.values()}.values():
            self.readers.update(self.inputs(node))
        self._set_dominators()
        self._uses = defaultdict(list)  # of weights in products
        for name, node in self.nodes.items():
            if node.op_type == "Gemm" and len(self.inputs(node)) > 1 and name == node.output[0]:
                W, *b = self.inputs(node)[1:]
                self._uses[W].append((attribute(node, "transB", 0), b))

    def _set_input(self, inputs):
        if len(inputs) != 1:
            raise ValueError(f"model must have one input, got {[value.name for value in inputs]}")
        (value,) = inputs
        kind, shape = value.type.tensor_type.elem_type, _shape_of(value)
        if kind not in DTYPES or len(shape) != 2 or not shape[1]:
            names = {number: name for name, number in TensorProto.DataType.items()}
            raise ValueError(
                f"model must have an input of FLOAT or DOUBLE in shape (any, n_inputs), got {value.name!r} of "
                f"{names.get(kind, kind)} in shape {tuple(size or 'any' for size in shape)}"
            )
        self.X, self.n_inputs, self.dtype = value.name, shape[1], DTYPES[kind]

    def _add(self, node):
        inputs = self.inputs(node)
        if self._does_nothing(node):
            self._same[node.output[0]] = inputs[0]
            return
        if node.op_type in FOLDED and node.domain == "" and all(name in self.constants for name in inputs):
            with suppress(Exception):  # what ONNX's reference can't compute is refused where it is needed
                self.constants.update(zip(node.output, self.evaluate([node], {}, node.output), strict=True))
                return
        self.nodes.update(dict.fromkeys(node.output, node))

    def _does_nothing(self, node):
        """Whether it passes on a matrix as it is, in prediction."""
        if node.op_type in ("Identity", "Dropout"):
            return True
        before, after = self._widths.get(node.input[0]) if node.input else None, self._widths.get(node.output[0])
        return node.op_type in ("Flatten", "Reshape", "Squeeze", "Unsqueeze") and before and before == after

    def inputs(self, node):
        """Names of what a node reads, without those that are left out."""
        return [self._same.get(name, name) for name in node.input if name]

    def constant(self, node, i):
        """The i-th input of a node, an array; None if there is none, or it is not constant."""
        if i >= len(node.input) or not node.input[i]:
            return None
        return self.constants.get(self._same.get(node.input[i], node.input[i]))

    def variables(self, node):
        """Names of what a node reads and is not constant."""
        return [name for name in self.inputs(node) if name not in self.constants]

    def width(self, name):
        """Number of columns of a tensor; 0 where the file does not say."""
        return self.n_inputs if name == self.X else self._widths.get(name, 0)

    def maker(self, name, kind):
        """The node that makes a tensor, if it is of this kind; else None."""
        node = self.nodes.get(name)
        return node if node is not None and node.op_type == kind else None

    def evaluate(self, nodes, given, wanted):
        """What nodes make of tensors, with the graph's constants: arrays."""
        names = {name for node in nodes for name in self.inputs(node)}
        constants = [numpy_helper.from_array(self.constants[name], name) for name in names & set(self.constants)]
        nodes = [
            helper.make_node(
                node.op_type, [self._same.get(name, name) for name in node.input], list(node.output),
                **{a.name: helper.get_attribute_value(a) for a in node.attribute},
            )
            for node in nodes
        ]  # fmt: skip
        infos = [onnx.ValueInfoProto(name=name) for name in given], [onnx.ValueInfoProto(name=name) for name in wanted]
        graph = helper.make_graph(nodes, "part", *infos, constants)
        return ReferenceEvaluator(helper.make_model(graph, opset_imports=self.opsets)).run(None, given)

    def sharing(self, node):
        """The name of weights that several products have, of which the others are, or may be transposed, and whether
        this one is transposed in comparison with the first; None if they can't be shared."""
        W = self.inputs(node)[1]
        first, uses = self._uses[W][0], self._uses[W]
        if len(uses) == 1 or any(transposed == first[0] and b != first[1] for transposed, b in uses):
            return None, False
        return W, attribute(node, "transB", 0) != first[0]

    # ---- paths ------------------------------------------------------------------------------------------------------

    def _set_dominators(self):
        self.dominator, self._depth = {}, {self.X: 0}
        for name, node in self.nodes.items():
            before = [tensor for tensor in self.variables(node) if tensor in self._depth]
            if before:
                self.dominator[name] = self.common(before)
                self._depth[name] = self._depth[self.dominator[name]] + 1

    def depends(self, name):
        """Whether a tensor depends on X."""
        return name in self._depth

    def common(self, names):
        """The last tensor through which all paths from X to any of these lead; it may be one of them."""
        a, *others = names
        for b in others:
            while a != b:
                if self._depth[a] >= self._depth[b]:
                    a = self.dominator[a]
                else:
                    b = self.dominator[b]
        return a

    def refuse(self, name, why):
        """A ValueError that names the node that makes a tensor."""
        node = self.nodes.get(name)
        if node is None:
            return ValueError(f"model: {name!r} {why}")
        return ValueError(f"model: node {node.name or name!r} ({node.op_type}) {why}")


def attribute(node, name, default=None):
    """An attribute of a node, as Python has it."""
    found = next((a for a in node.attribute if a.name == name), None)
    value = default if found is None else helper.get_attribute_value(found)
    return value.decode() if isinstance(value, bytes) else value


def number(value):
    """The number that a float32 was written for: 0.1, where it is 0.10000000149."""
    return float(str(np.float32(value))) if np.float32(value) == value else value


def _array(tensor):
    try:
        return numpy_helper.to_array(tensor)
    except Exception as error:
        raise ValueError(f"model: the constant {tensor.name!r} can't be read: {error}") from error


def _shape_of(value):
    return [size.dim_value for size in value.type.tensor_type.shape.dim]
