"""From a network to an ONNX model."""

from collections import Counter, defaultdict

from onnx import checker, helper

from .. import __version__
from .ops import RULES, Parameters
from .units import output_of, unit
from .writer import Writer

OPSET = 20  # the first with Gelu
BATCH = "n_samples"  # the axis of rows, of any length


def to_onnx(model):
    """What `Network.to_onnx` returns.

    Parameters
    ----------
    model : Model

    Returns
    -------
    onnx_model : onnx.ModelProto
    """
    outputs = [output.name or "output" for output in model.outputs]
    writer = Writer(model.dtype, unique_names(outputs))
    X = writer.unique("X")
    for name, output in zip(write(writer, model, X), outputs, strict=True):
        writer.rename(name, output)
    graph = helper.make_graph(
        writer.nodes, "fastbp",
        [helper.make_tensor_value_info(X, writer.element_type, [BATCH, model.n_inputs])],
        [
            helper.make_tensor_value_info(name, writer.element_type, [BATCH, output.n_predicted])
            for name, output in zip(outputs, model.outputs, strict=True)
        ],
        writer.constants,
    )  # fmt: skip
    opsets = [helper.make_opsetid("", OPSET)]
    onnx_model = helper.make_model(
        graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets), producer_name="fastbp",
        producer_version=__version__,
    )  # fmt: skip
    checker.check_model(onnx_model, full_check=True)
    return onnx_model


def unique_names(taken):
    """A function that returns a name like the one it gets, which it has not returned before and is not among these."""
    counts = Counter(taken)

    def unique(name):
        candidate, n = name, counts[name]
        while counts[candidate]:
            candidate, n = f"{name}_{n}", n + 1
        counts[name] = n
        counts[candidate] += 1
        return candidate

    return unique


def write(writer, model, X):
    """Add all that a model's predictions take.

    Parameters
    ----------
    writer : Writer
    model : Model
    X : str
        Name of what is there already, of shape (n_samples, n_inputs) in the writer's dtype.

    Returns
    -------
    names : list of str
        Of what `Network.predict` gives, one for each output.
    """
    names = _write_values(writer, model, X)
    outputs = []
    for number, output in zip(model.graph.outputs.values(), model.outputs, strict=True):
        writer.layer = model.graph.values[number].name
        outputs.append(output_of(writer, names[number], output.n, output.loss))
    return outputs


def write_value(writer, model, X, number):
    """The same for one of the values of a model's graph, by its number: the name of its activations."""
    return _write_values(writer, model, X, number)[number]


def _write_values(writer, model, X, last=None):
    """Names of the activations of a graph's values, by their numbers; up to the last that is wanted."""
    graph, parameters = model.graph, Parameters(writer, model)
    scales = _scales_of_norms(graph)
    names, parts = {0: X}, defaultdict(list)
    for op in graph.forward:
        value, h = graph.values[op.output], names.get(op.input)
        writer.layer = value.name
        if op.kind == "unit":
            z = _joined(writer, parts.pop(op.output))
            names[op.output] = unit(writer, z, value.unit, value.parameter)
            if op.output == last:
                break
        elif op.output in scales:
            scale = scales[op.output]
            writer.layer = graph.values[scale.output].name
            parts[op.output].append((0, RULES[op.kind](writer, parameters, op, h, scale)))
        elif op in scales.values():
            parts[op.output].append((0, h))
        else:
            parts[op.output].append((op.column, RULES[op.kind](writer, parameters, op, h)))
    return names


def _scales_of_norms(graph):
    """The ops that scale and shift what a normalisation gives and nothing else reads, by the number of that value: for
    ONNX they are one."""
    reads = Counter(op.input for op in graph.forward if op.kind != "unit") + Counter(graph.outputs.values())
    norms = {
        op.output for op in graph.forward
        if (op.momentum or (op.kind == "group_norm" and op.n_groups == 1)) and reads[op.output] == 1
    }  # fmt: skip
    return {op.input: op for op in graph.forward if op.kind == "scale" and op.bias >= 0 and op.input in norms}


def _joined(writer, parts):
    """What is made of parts that ops have written, each from a column on: those from column 0 on begin a term of a sum,
    others are beside the one before."""
    terms = []
    for column, name in parts:
        if column == 0:
            terms.append([])
        terms[-1].append(name)
    z, *others = [names[0] if len(names) == 1 else writer.node("Concat", *names, axis=1) for names in terms]
    for other in others:
        z = writer.node("Add", z, other)
    return z
