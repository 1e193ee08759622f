"""Drawings of networks: what is in them, and that nothing lies on anything else."""

import re
from itertools import combinations
from xml.etree import ElementTree

import pytest
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import MLPRegressor as SklearnRegressor

from fastbp import (
    ELU,
    BatchNorm,
    Checkpoint,
    Dense,
    Dropout,
    LayerNorm,
    MLPClassifier,
    MLPRegressor,
    Network,
    Parallel,
    Residual,
    Shared,
)
from fastbp.display import ArchitectureDisplay

SVG = "{http://www.w3.org/2000/svg}"
STEP = Shared(Dense(8, "tanh"), name="a < b")
DEEP = [
    BatchNorm(), Dense(8, ELU(0.5), dropout=0.5), Residual([Dense(8, "relu"), LayerNorm(), Dense(6)], "linear"),
    Residual([Residual([Dense(6)]), Dense(6)]), Parallel([[], [Dense(2)], [Checkpoint([Dense(4), Dense(5)])]]),
    Dense(8), STEP, STEP, Shared(Residual([Dense(8)])),
    Parallel([[Dense(3)], [Dense(3), Dropout(0.5), Dense(3)]], "add"),
    Parallel({"price": [Dense(1)], "kind": [Dense(4, "relu"), Dense(4)]}),
]  # fmt: skip
LOSSES = {"price": "squared_error", "kind": "softmax_cross_entropy"}


def drawing(layers, **settings):
    net = Network(layers, n_inputs=1234, **settings)
    return net, ElementTree.fromstring(ArchitectureDisplay.from_network(net).svg)


def texts(root):
    return [element.text for element in root.iter(f"{SVG}text")]


def boxes(root):
    """Filled boxes, as (left, top, right, bottom)."""
    sizes = [
        [float(element.get(name)) for name in ("x", "y", "width", "height")]
        for element in root.iter(f"{SVG}rect") if element.get("fill") != "none"
    ]  # fmt: skip
    return [(x, y, x + width, y + height) for x, y, width, height in sizes]


def ends_of_lines(root):
    return [
        [tuple(map(float, point.split(","))) for point in element.get("points").split()]
        for element in root.iter(f"{SVG}polyline")
    ]


def test_words():
    net, root = drawing([Dense(100, "relu"), Dense(10, dropout=0.0)], loss="softmax_cross_entropy")
    assert root.find(f"{SVG}title").text == net.summary().title
    assert texts(root) == [
        "1,234 inputs", "0 Dense", "relu", "100 units, 123,500 parameters", "1 Dense", "10 units, 1,010 parameters",
        "loss softmax_cross_entropy",
    ]  # fmt: skip


def test_all_layers_are_there():
    net, root = drawing(DEEP, loss=LOSSES)
    found = texts(root)
    for name in ("0 BatchNorm", "2.projection", "4.2.0 Checkpoint", "head price", "ELU(alpha=0.5), dropout 0.5"):
        assert name in found or any(text.startswith(name.replace(".p", " p")) for text in found), name
    names = {part.rpartition(".")[0] for layer in _leaves(net.summary().layers) for part in layer.shapes}
    assert names - {"2.projection"} <= {text.split()[0] for text in found}
    assert found.count("+") == 5 and found.count("‖") == 1
    assert sum(text.endswith("Dense, shared") for text in found) == 2


def _leaves(layers):
    for layer in layers:
        yield layer
        for inner in layer.sequences.values():
            yield from _leaves(inner)


@pytest.mark.parametrize("layers", [DEEP[:8] + DEEP[-1:], DEEP])
def test_boxes_lie_apart_and_within_the_drawing(layers):
    _, root = drawing(layers, loss=LOSSES)
    width, height = float(root.get("width")), float(root.get("height"))
    assert root.get("viewBox") == f"0 0 {width:g} {height:g}"
    found = boxes(root)
    assert len(found) > 12
    for left, top, right, bottom in found:
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
    for a, b in combinations(found, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_lines_lead_from_one_thing_to_another_and_through_none():
    _, root = drawing(DEEP, loss=LOSSES)
    found = boxes(root)
    for points in ends_of_lines(root):
        for (x0, y0), (x1, y1) in zip(points[:-1], points[1:], strict=True):
            assert x0 == x1 or y0 == y1
            for left, top, right, bottom in found:
                inside_x = max(min(x0, x1), left + 0.01) <= min(max(x0, x1), right - 0.01)
                inside_y = max(min(y0, y1), top + 0.01) <= min(max(y0, y1), bottom - 0.01)
                assert not (inside_x and inside_y)


def test_skips_and_branches():
    """What comes into a residual layer goes to its layers and past them, and both to the sign."""
    _, root = drawing([Dense(4), Residual([Dense(4)])])
    circle = root.find(f"{SVG}circle")
    x, y, radius = (float(circle.get(name)) for name in ("cx", "cy", "r"))
    into = [points for points in ends_of_lines(root) if points[-1] in ((x, y - radius), (x + radius, y))]
    assert len(into) == 2 and len({points[0] for points in into}) == 2
    lower = max(points[-1][1] for points in ends_of_lines(root))
    assert lower > y  # on to the loss


def test_estimators():
    X, y = [[0.0, 1.0], [1.0, 2.0], [2.0, 0.0]], [0, 1, 2]
    clf = MLPClassifier((7,), tol=10.0, random_state=0).fit(X, y)
    display = ArchitectureDisplay.from_estimator(clf)
    assert display.summary.n_parameters == sum(a.size for a in (*clf.coefs_, *clf.intercepts_))
    assert "2 inputs" in display.svg and "loss softmax_cross_entropy" in display.svg
    reg = MLPRegressor(hidden_layers=[Residual([Dense(2, "relu")])], tol=10.0, random_state=0).fit(X, y)
    assert "0.0 Dense" in ArchitectureDisplay.from_estimator(reg).svg
    with pytest.raises(NotFittedError):
        ArchitectureDisplay.from_estimator(MLPClassifier())
    with pytest.raises(TypeError, match="estimator must be an MLPClassifier or MLPRegressor of fastbp, got MLPRegr"):
        ArchitectureDisplay.from_estimator(SklearnRegressor())


def test_notebooks_see_it():
    display = ArchitectureDisplay.from_network(Network([Dense(1)], n_inputs=2))
    assert display._repr_svg_() == display._repr_html_() == display.svg
    assert not re.search("href|script|onload|<style", display.svg)


def test_what_is_drawn_is_a_network():
    with pytest.raises(TypeError, match="network must be a Network, got MLPRegressor"):
        ArchitectureDisplay.from_network(MLPRegressor())
