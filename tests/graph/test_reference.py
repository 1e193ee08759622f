"""The twins, and Hessians from them, against central differences."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from network_cases import ACTIVATIONS, LOSSES, central_differences, relative_error
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from fastbp import Quantile
from fastbp.full_batch.hessian import hessian, hessian_products
from fastbp.graph import Graph, backward_of, fused
from fastbp.graph.reference import Statistics, converted, losses, passes, run, split
from fastbp.layers import unit_of
from fastbp.losses import kernel_of, outputs_per_target

UNITS = [*map(unit_of, ACTIVATIONS), ("step", 0.0)]
ALL_LOSSES = [*LOSSES, "gaussian", Quantile([0.1, 0.6])]


def problem(rng, graph, output_losses, n=7):
    """Parameters, and what else `run` takes."""
    targets, costs = [], []
    for loss, number in zip(output_losses, graph.outputs.values(), strict=True):
        k = graph.values[number].n
        y = rng.random((n, k // outputs_per_target(loss)))
        if kernel_of(loss)[0] in ("softmax_cross_entropy", "perceptron"):
            y = y.round() if loss == "perceptron" else np.eye(k)[rng.integers(0, k, n)]
        targets.append(y)
        costs.append((*kernel_of(loss), 0.5 + rng.random()))
    parameters, X = rng.normal(size=graph.n_parameters) * 0.6, rng.normal(size=(n, graph.n_inputs))
    for op in graph.forward:
        if op.kind == "embed":  # from within what counts as an integer differences see nothing of it
            X[:, op.source] = rng.integers(0, graph.weights[op.weights].n_in, n) + rng.uniform(0.1, 0.9, n)
    return parameters, X, targets, costs, rng.integers(0, 4, n) + 0.5


def check(rng, graph, parameters, X, targets, costs, weight, noise=0.0, batch_statistics=False):
    """Gradients by parameters and inputs, the Hessian and its products; noise is that of differences of the cost."""
    state = graph.initial_state(np.float64) + 0.1
    ops, rest = backward_of(graph), (X, targets, costs, weight, state, batch_statistics)
    _, cost, gradient = run(graph, ops, parameters, *rest)
    v = rng.normal(size=parameters.size)
    step = 1e-6

    def along(f, v):
        return (f(step * v) - f(-step * v)) / (2 * step)

    slope = along(lambda dw: run(graph, ops, parameters + dw, *rest)[1], v)
    assert abs(slope - gradient @ v) <= 1e-6 * np.linalg.norm(gradient) * np.linalg.norm(v) + noise * (1 + abs(cost))

    dX = rng.normal(size=X.shape)
    rows, y, s = converted(X.dtype, X, targets, weight)
    statistics = Statistics(state, s if batch_statistics else None)
    found = passes(graph, backward_of(graph, inputs=True), split(graph, parameters), rows, y, costs, s, statistics)[1]
    inputs = found.get(0, np.zeros_like(X))  # which tables alone have none of
    slope = along(lambda d: run(graph, ops, parameters, X + d, *rest[1:])[1], dX)
    scale = np.linalg.norm(inputs) * np.linalg.norm(dX)
    assert abs(slope - (inputs * dX).sum()) <= 1e-6 * scale + noise * (1 + abs(cost))

    product = hessian_products(graph, ops, parameters, *rest)
    Hv = product(v)
    numeric = along(lambda dw: run(graph, ops, parameters + dw, *rest)[2], v)
    assert np.linalg.norm(Hv - numeric) <= 1e-6 * np.linalg.norm(numeric) + noise * (1 + np.linalg.norm(gradient))
    u = rng.normal(size=v.size)
    assert_allclose(u @ Hv, v @ product(u), rtol=1e-9, atol=1e-12 * (1 + np.linalg.norm(Hv)))
    H = hessian(graph, ops, parameters, *rest)
    assert_array_equal(H, H.T)
    assert_allclose(H @ v, Hv, rtol=1e-9, atol=1e-12 * (1 + np.abs(Hv).max()))


KINDS = [
    "dense", "shared", "rbf", "transposed", "scale", "prelu", "batch_norm", "group_norm", "add", "concatenate",
    "slices", "embed",
]  # fmt: skip


@st.composite
def graphs(draw):
    """Any graph of a few values, and the losses of its outputs: each value is read or an output."""
    graph, layer, tables = Graph(draw(st.integers(1, 4))), SimpleNamespace(), {}

    def finish(z):
        graph.finish(z, *draw(st.sampled_from(UNITS)))

    for i in range(draw(st.integers(0, 6))):
        present = range(len(graph.values))
        h = draw(st.sampled_from([0, *present[-2:]]))  # the last ones are read more often
        n = graph.values[h].n
        kind = draw(st.sampled_from(KINDS))
        transposable = [j for j, w in enumerate(graph.weights) if w.role == "weight" and w.n_out == n]
        alike = [j for j in present if graph.values[j].n == n]
        if kind == "rbf":
            z, number = graph.dense(f"{i}", h, layer, draw(st.integers(1, 4)), role="centre")
            graph.finish(z, "rbf", weights=number)
        elif kind == "scale":
            finish(graph.scale(f"{i}", h, layer, has_bias=draw(st.booleans())))
        elif kind == "prelu":
            finish(graph.scale(f"{i}", h, layer, has_bias=False, kind="prelu"))
        elif kind == "batch_norm":
            finish(graph.batch_norm(f"{i}", h, f"{i}", 0.1, draw(st.sampled_from([0.0, 0.2]))))
        elif kind == "group_norm":
            finish(graph.group_norm(f"{i}", h, draw(st.sampled_from([g for g in (1, 2, 3) if n % g == 0])), 0.1))
        elif kind == "shared":
            for _ in range(2):
                with graph.sharing(f"{i}", f"square {n}", layer):
                    h, _ = graph.dense(f"{i}", h, layer, n)
                finish(h)
        elif kind == "transposed" and transposable:
            finish(graph.transposed(f"{i}", h, layer, draw(st.sampled_from(transposable))))
        elif kind in ("add", "concatenate"):
            read = [h, *draw(st.lists(st.sampled_from(alike if kind == "add" else present), max_size=2))]
            z = graph.value(f"{i}", n if kind == "add" else sum(graph.values[j].n for j in read))
            column = 0
            for k, j in enumerate(read):
                graph.move(j, z, column, add=kind == "add" and k > 0)
                column += 0 if kind == "add" else graph.values[j].n
            finish(z)
        elif kind == "slices":
            cut, again = draw(st.integers(0, n - 1)), draw(st.integers(1, n))
            z = graph.value(f"{i}", n + again)
            graph.move(h, z, 0, source=cut)
            if cut:
                graph.move(h, z, n - cut, n=cut)
            graph.move(h, z, n, n=again)
            graph.move(h, z, again - 1, add=True, n=1)
            finish(z)
        elif kind == "embed":
            column = draw(st.integers(0, graph.n_inputs - 1))
            n_rows = tables.setdefault(column, draw(st.integers(1, 3)))
            z = graph.value(f"{i}", n + 3)
            for dim in (1, 2):
                graph.embed(f"{i}", 0, z, layer, n_rows, dim, column, dim - 1)
            graph.move(h, z, 3)
            finish(z)
        else:
            z, _ = graph.dense(f"{i}", h, layer, draw(st.integers(1, 4)), has_bias=draw(st.booleans()))
            finish(z)

    unread = set(range(len(graph.values))) - {op.input for op in graph.forward if op.kind != "unit"}
    output_losses = []
    for h in sorted(unread):
        loss = draw(st.sampled_from(ALL_LOSSES))
        n = 2 if kernel_of(loss)[0] == "softmax_cross_entropy" else outputs_per_target(loss)
        z, _ = graph.dense(f"output {h}", h, layer, n * draw(st.integers(1, 2)))
        graph.outputs[f"{h}"] = graph.finish(z)
        output_losses.append(loss)
    if draw(st.booleans()):  # one that others read too
        read = draw(st.integers(1, len(graph.values) - 1))
        if read not in graph.outputs.values():
            graph.outputs["read"] = read
            output_losses.append("squared_error")
    return graph, output_losses


@settings(deadline=None, max_examples=150, derandomize=True)  # a kink between two places would be a difference
@given(graphs(), st.integers(0, 100), st.booleans())
def test_any_graph(drawn, seed, batch_statistics):
    rng = np.random.default_rng(seed)
    check(rng, drawn[0], *problem(rng, *drawn), noise=1e-8, batch_statistics=batch_statistics)


@settings(deadline=None, max_examples=150)
@given(graphs(), st.integers(0, 100))
def test_merged_units_give_the_same_numbers(drawn, seed):
    graph, output_losses = drawn
    parameters, *rest = problem(np.random.default_rng(seed), graph, output_losses)
    settings = {"batch_statistics": bool(seed % 2)}
    results = [run(g, backward_of(g), parameters, *rest, **settings) for g in (graph, fused(graph))]
    for a, b in zip(results[0][0], results[1][0], strict=True):
        assert_array_equal(a, b)
    assert results[0][1] == results[1][1]
    assert_array_equal(results[0][2], results[1][2])


def two_layers(unit, loss="squared_error", n_outputs=4, **settings):
    graph, layer = Graph(3), SimpleNamespace()
    z, number = graph.dense("hidden", 0, layer, 5, **settings)
    z, _ = graph.dense("output", graph.finish(z, *unit, weights=number if settings else -1), layer, n_outputs)
    graph.outputs[None] = graph.finish(z)
    return graph


@pytest.mark.parametrize("loss", ALL_LOSSES, ids=str)
def test_losses(rng, loss):
    graph = two_layers(("tanh", 0.0))
    check(rng, graph, *problem(rng, graph, [loss]))


@pytest.mark.parametrize("unit", [*UNITS, ("rbf", 0.0)], ids=str)
def test_units(rng, unit):
    """Each parameter by itself, too."""
    graph = two_layers(unit, role="centre") if unit[0] == "rbf" else two_layers(unit)
    parameters, *rest = problem(rng, graph, ["squared_error"])
    check(rng, graph, parameters, *rest)
    ops = backward_of(graph)
    numeric = central_differences(lambda: run(graph, ops, parameters, *rest)[1], parameters)
    assert relative_error(run(graph, ops, parameters, *rest)[2], numeric) < 1e-6


def test_kinds_of_input_and_single_precision(rng):
    """CSR gives the same to rounding; in float32 sums over many rows are as exact as their terms."""
    graph = two_layers(("relu", 0.0))
    parameters, X, targets, costs, weight = problem(rng, graph, ["softmax_cross_entropy"], n=2000)
    X, ops, v = X.round(), backward_of(graph), rng.normal(size=parameters.size)
    expected = run(graph, ops, parameters, X, targets, costs, weight)
    Hv = hessian_products(graph, ops, parameters, X, targets, costs, weight)(v)
    for kind in (sparse.csr_array(X), sparse.csr_matrix(X), X.astype(np.int8), np.asfortranarray(X)):
        rest = kind, targets, costs, weight
        for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-5)):
            w = parameters.astype(dtype)
            outputs, cost, gradient = run(graph, ops, w, *rest)
            assert outputs[0].dtype == gradient.dtype == dtype
            assert_allclose(cost, expected[1], rtol=tolerance)
            assert relative_error(gradient, expected[2]) < tolerance
            assert relative_error(hessian_products(graph, ops, w, *rest)(v.astype(dtype)), Hv) < tolerance
            assert relative_error(hessian(graph, ops, w, *rest) @ v, Hv) < tolerance


def test_rows_without_weight_count_for_nothing(rng):
    graph = two_layers(("identity", 0.0))
    parameters, X, targets, costs, weight = problem(rng, graph, ["poisson"])
    ops = backward_of(graph)
    X[2], weight[2] = 1e4, 0
    rows = np.arange(len(X)) != 2
    with np.errstate(over="ignore", invalid="ignore"):
        outputs, cost, gradient = run(graph, ops, parameters, X, targets, costs, weight)
        assert not np.isfinite(losses(costs[0], outputs[0], targets[0])[2])
    _, *expected = run(graph, ops, parameters, X[rows], [targets[0][rows]], costs, weight[rows])
    assert_allclose(cost, expected[0], rtol=1e-14)
    assert_allclose(gradient, expected[1], rtol=1e-12)
