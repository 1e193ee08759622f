"""Values that are not kept from the pass forward to the pass back, but made again: sections of a program.

The pass back begins a section by making its values once more, from the last one before them that was kept, and ends it
with the gradients of its weights; after that the next one may have its places. Only values at the ends of sections are
kept: of n layers in sections of ``sqrt(n)``, as many values as that are there at once [1]_.

.. [1] T. Chen, B. Xu, C. Zhang and C. Guestrin, "Training deep nets with sublinear memory cost", arXiv 1604.06174,
   2016.
"""


def sections_of(graph):
    """The section of each value, from 0 on in the order of the program; -1 for those that are kept.

    Kept are outputs, and what sections share: values that others read, and all those of sections with weights that are
    used elsewhere too, as the sum of the gradients of all uses has one order.

    Parameters
    ----------
    graph : Graph

    Returns
    -------
    sections : list of int
    """
    sections = [value.section for value in graph.values]
    for number in graph.outputs.values():
        sections[number] = -1
    for op in graph.forward:
        if sections[op.input] != sections[op.output] and sections[op.output] >= 0:
            sections[op.input] = -1
    while shared := set().union(*(s for s in _sections_by_weights(graph, sections).values() if len(s) > 1)) - {-1}:
        sections = [-1 if s in shared else s for s in sections]
    numbers = {}
    for op in graph.forward:
        if sections[op.output] >= 0:
            numbers.setdefault(sections[op.output], len(numbers))
    return [numbers.get(s, -1) for s in sections]


def weights_of_sections(graph, sections):
    """The section of each of a graph's weights, that of the values that its gradient needs; -1 for those of none."""
    used = _sections_by_weights(graph, sections)
    return [max(used.get(i, {-1})) for i in range(len(graph.weights))]


def _sections_by_weights(graph, sections):
    """Sets of the sections in which weights are used, by the weights' numbers."""
    used = {}
    for op in graph.forward:
        if op.kind != "unit":
            for number in {op.weights, op.bias, op.of} - {-1}:
                used.setdefault(number, set()).add(max(sections[op.input], sections[op.output]))
    return used
