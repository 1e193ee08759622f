"""Nodes and constants of an ONNX graph, as rules for ops and units add them."""

import numpy as np
from onnx import helper, numpy_helper


class Writer:
    """Adds nodes and constants with names that say which layer they are of.

    Parameters
    ----------
    dtype : dtype
        float32 or float64, of all constants that are no integers.
    unique : callable
        ``unique(name)`` returns a name like this one that nothing in the graph has.

    Attributes
    ----------
    nodes : list of NodeProto
        Each after those that it reads.
    constants : list of TensorProto
    layer : str
        The name of the layer whose nodes and constants are added.
    """

    def __init__(self, dtype, unique):
        self.dtype, self.unique = np.dtype(dtype), unique
        self.nodes, self.constants, self.layer = [], [], ""

    @property
    def element_type(self):
        """Of the graph's numbers, as ONNX counts types."""
        return helper.np_dtype_to_tensor_dtype(self.dtype)

    def constant(self, name, value):
        """Name of a new constant: of numbers in the graph's dtype, or integers or bools as they are."""
        value = np.array(value, order="C")
        name = self.unique(f"{self.layer}.{name}")
        value = value.astype(self.dtype) if value.dtype.kind == "f" else value
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def node(self, kind, *inputs, **attributes):
        """Name of the output of a new node; inputs that are None are left out."""
        output = self.unique(f"{self.layer}.{kind.lower()}")
        inputs = [name for name in inputs if name is not None]
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def columns(self, name, begin, end):
        """Name of some columns of what has this name."""
        begin, end, axes = self.constant("begin", [begin]), self.constant("end", [end]), self.constant("axes", [1])
        return self.node("Slice", name, begin, end, axes)

    def rename(self, name, new):
        """Give what has this name another one, which is unique; a copy of it, if something reads it by its name."""
        maker = next((node for node in self.nodes if name in node.output), None)
        if maker is None or any(name in node.input for node in self.nodes):
            self.nodes.append(helper.make_node("Identity", [name], [new], name=new))
        else:
            maker.output[0] = maker.name = new
