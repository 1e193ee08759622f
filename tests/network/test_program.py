"""What a network says that it will run."""

import kernel_table as kt
import numpy as np
import pytest
from graph_cases import N_INPUTS, NETWORKS, network
from numpy.testing import assert_array_equal
from scipy import sparse

import fastbp
from fastbp import Adam, Dense, Dropout, Network, Parallel, Residual, Shared, Sparse


def mnist(n_threads=2, mode="train", **settings):
    layers = [Dense(100, "relu"), Dense(10)]
    net = Network(layers, n_inputs=784, loss="softmax_cross_entropy", dtype="float32", random_state=0)
    return net.program(mode, n_threads=n_threads, **settings)


def images(rng):
    X = rng.random((2000, 784), dtype="f4")
    X[rng.random(X.shape) < 0.8] = 0
    return X


def kinds(program):
    return [[op.kind for op in phase.ops] for phase in program.phases]


STEP = [("columns", True), ("rows", True), ("alone", False), ("weights", False)]
CASES = {
    "in place": (lambda X: X + 1, [], 2),
    "gathered": (lambda X: np.asfortranarray(X + 1), [("rows", True)], 3),
    "another dtype": (lambda X: X.astype(float) + 1, [("rows", True)], 3),
    "as nonzeros": (lambda X: X, [("rows", True), ("alone", False)], 3),
    "gathered, as nonzeros": (lambda X: (255 * X).astype(np.uint8), [("rows", True), ("alone", False)], 3),
    "CSR": (sparse.csr_array, [("rows", True), ("alone", False)], 3),
}


@pytest.mark.parametrize("name", CASES)
def test_the_barriers_of_a_step(rng, name):
    """gather and lists | the first layer by columns | row blocks | update"""
    kind, first, n_barriers = CASES[name]
    program = mnist(X=kind(images(rng)))
    assert [(phase.split, phase.barrier) for phase in program.phases] == first + STEP
    assert program.n_barriers == n_barriers and program.n_threads == 2 and program.sides == 2
    assert program.x_as_nonzeros == (name in ("as nonzeros", "gathered, as nonzeros", "CSR"))
    assert program.x_in_place == (name in ("in place", "as nonzeros"))
    assert program.chunk == 32 and program.mode == "train"
    halved = 100 < 16 * kt.table(fastbp.ISA, "float32").lanes  # else 100 columns are too many stripes for it to repay
    assert program.halved == ("0" if halved else None)
    rows = ["dense", "unit", "loss", "unit_back", "dense_back", "unit_back"]
    ops = [["dense", "unit"], ["middle_unit"] * halved + rows, ["sum_losses"], ["update"]]
    assert kinds(program) == [["gather"], ["list_transpose"]][: len(first)] + ops


def test_rows_that_share_sets_of_the_cache_are_gathered_for_many_columns(rng):
    """Rows a multiple of 256 bytes apart lie in few sets of the L1 cache; narrow layers seldom read them."""
    wide = 8 * kt.table(fastbp.ISA, "float32").lanes + 1
    for n_inputs, n_units, in_place in ((128, wide - 1, True), (128, wide, False), (129, wide, True)):
        net = Network([Dense(n_units, "relu"), Dense(3)], n_inputs=n_inputs, dtype="float32", random_state=0)
        X = rng.random((100, n_inputs), dtype="f4") + 1
        assert net.program("train", X=X, batch_size=20).x_in_place == in_place


def test_one_thread_waits_for_nobody():
    one, two = mnist(1), mnist(2)
    assert one.n_barriers == 0 and two.n_barriers == 2 and one.sides == 1
    assert kinds(one) == kinds(two) and one.workspace_size < two.workspace_size


def test_too_little_work_for_several_threads(rng):
    X = rng.random((50, 784), dtype="f4")
    assert mnist(X=X).n_threads == 1 and mnist(X=X).n_barriers == 0
    assert mnist(batch_size=1).n_threads == 1
    assert mnist(X=np.tile(X, (50, 1))).n_threads == 2


def test_small_layers_are_by_rows_alone():
    net = Network([Dense(64, "tanh"), Dense(64, "tanh"), Dense(5)], n_inputs=70, random_state=0)
    program = net.program(batch_size=200, n_threads=2)
    assert [phase.split for phase in program.phases] == ["rows", "alone", "weights"]
    assert program.n_barriers == 2 and program.phases[-1].barrier and program.halved is None


def test_all_modes(rng):
    X = images(rng)
    forward = ["dense", "unit", "dense", "unit"]
    for mode, ops in {
        "loss": ["gather", *forward, "loss", "sum_losses"],
        "gradient": [
            "gather", "list_transpose", *forward, "loss", "unit_back", "dense_back", "unit_back", "sum_losses", "update"
        ],
        "predict": ["gather", *forward],
        "forward": [*forward, "output"],
        "backward": ["output_back", "unit_back", "dense_back", "unit_back", "update"],
    }.items():  # fmt: skip
        program = mnist(mode=mode, X=X)
        assert [kind for kind in sum(kinds(program), []) if kind != "middle_unit"] == ops, mode
        assert program.x_as_nonzeros == (mode not in ("forward", "backward")) and program.n_rows == 2000
        assert program.chunk == 2000 if mode in ("forward", "backward") else program.chunk < 2000
        assert program.n_barriers == {"predict": 0, "forward": 2, "backward": 2}.get(mode, 3)
        assert f"{mode} of 2000 rows" in str(program)
    one_row = mnist(mode="predict", X=X[:1])
    assert one_row.chunk == 1 and one_row.n_threads == 1


def test_large_batches_are_cut_evenly():
    """No chunk of few rows is left over, which would read all weights once more."""
    net = Network([Dense(1024, "relu"), Dense(10)], n_inputs=64, dtype="float32", random_state=0)
    chunks = {n: net.program("train", batch_size=n).chunk for n in (256, 257, 512, 600)}
    assert chunks == {256: 256, 257: 129, 512: 256, 600: 200}


def test_what_is_printed():
    code = Shared(Dense(4, "tanh", dropout=0.25), name="code")
    net = Network(
        [
            Parallel([[code], [Dense(2)]]), Residual([Dense(3, "elu")], projection="linear"), Dropout(0.5), Dense(4),
            code.transposed(), Parallel({"a": [Dense(1)], "b": [Dense(4)]}),
        ],
        n_inputs=5, loss={"a": "huber", "b": "huber"}, ties=[(0, 7, 0.1)], random_state=0,
    )  # fmt: skip
    program = net.program(batch_size=20)
    lines = [" ".join(line.split()) for line in str(program).splitlines()]
    assert repr(program) == str(program) and not any(line.endswith(" ") for line in str(program).splitlines())
    size = f"{program.workspace_size:,}"
    assert lines[:5] == [
        "train of 20 rows, at once, in float64", "threads: 1, barriers: 0", "rows of X are used where they lie",
        "weights are packed", f"workspace: {size} bytes, on 1 side",
    ]  # fmt: skip
    for line in (
        "dense           X (20, 5) -> 0.0.0 (20, 4)    W0 (5, 4), b0 (4,)",
        "unit            0.0.0 (20, 4) = dropout 0.25 of tanh",
        "move            0.1.0 (20, 2) -> 0 (20, 6)[:, 4:6]",
        "dense           0 (20, 6) -> 1.projection (20, 3)    W3 (6, 3)",
        "add             1.0 (20, 3) -> 1 (20, 3)",
        "unit            1 (20, 3) = dropout 0.5 of identity",
        "unit            1.0 (20, 3) = elu(1)",
        "transposed      3 (20, 4) -> 4 (20, 5)    W0 (5, 4), b5 (5,)",
        "loss            5.b.0 (20, 4) -> d 5.b.0 (20, 4)",
        "dense_back      d 5.a.0 (20, 1) -> += d 4 (20, 5)    W6 (5, 1)",
        "unit_back       d 1.0 (20, 3) *= elu(1)'",
        "move_back       d 0 (20, 6)[:, 4:6] -> d 0.1.0 (20, 2)",
        "transposed_back d 4 (20, 5) -> d 3 (20, 4)    W0 (5, 4)",
        "ties",
        "update          W0 W1 W2 W3 W4 W5 W6 W7",
        "parts of weights:",
    ):
        assert " ".join(line.split()) in lines, line
    assert "dropout" not in str(net.program("gradient")) and "---- barrier" in str(mnist())


@pytest.mark.parametrize("name", NETWORKS)
def test_all_networks_have_programs(name):
    net = network(NETWORKS[name])
    for mode in ("train", "gradient", "loss", "predict", "forward", "backward"):
        program = net.program(mode, n_threads=2, batch_size=100)
        ops = sum(kinds(program), [])
        forward = {"dense", "transposed", "rbf", "move", "add"} & {op.kind for op in net._model.fused.forward}
        assert forward <= set(ops) or mode == "backward"
        assert ("update" in ops) == (mode in ("train", "gradient", "backward"))


def test_what_the_workspace_holds(rng):
    """The optimizer's state, once there is one; and nothing changes by looking."""
    net = Network([Dense(100, "relu"), Dense(10)], n_inputs=784, random_state=0)
    X, y = rng.random((40, 784)), rng.random((40, 10))
    before = net.program().workspace_size
    assert net.program(batch_size=64).workspace_size > before > net.parameters.nbytes
    net.fit(X, y, optimizer=Adam())
    assert net.program().workspace_size >= before + 2 * net.parameters.nbytes
    parameters, a = net.parameters.copy(), net.forward(X)
    expected = net.backward(a)
    for mode in ("train", "gradient", "loss", "predict", "forward", "backward"):
        net.program(mode, X=X, n_threads=2)
    for one, other in zip(net.backward(a), expected, strict=True):
        assert_array_equal(one, other)
    assert_array_equal(net.parameters, parameters)


def test_inputs_that_are_changed_are_copied():
    for settings in ({"input_noise": 0.1}, {"input_dropout": 0.1}):
        net = network(NETWORKS["residual"], **settings)
        assert not net.program().x_in_place and net.program("gradient").x_in_place


def test_predictions_use_weights_where_they_lie():
    """But where a layer needs the transpose, and for very many rows of a sparse one."""
    net = Network([Dense(500), Dense(2)], n_inputs=300, dtype="float32", random_state=0)
    assert net.program("predict", batch_size=1).workspace_size < net.parameters.nbytes / 10
    for rows in (48, 1000, 10000):
        assert net.program("predict", batch_size=rows, n_threads=1).workspace_size < net.parameters.nbytes
    net = Network([Sparse(5000, 50), Dense(2)], n_inputs=300, dtype="float32", random_state=0)
    few, many = (net.program("predict", batch_size=rows, n_threads=1).workspace_size for rows in (960, 9600))
    assert many > few + 50 * 5000 * 4
    code = Shared(Dense(500), name="code")
    net = Network([code, code.transposed()], n_inputs=300, dtype="float32", random_state=0)
    assert net.program("predict", batch_size=1).workspace_size > 2 * 300 * 500 * 4


def test_predictions_of_few_rows_are_shared_by_columns():
    net = Network([Dense(500, "relu"), Dense(500, "softmax"), Dense(2)], n_inputs=300, dtype="float32", random_state=0)
    many, few = (net.program("predict", batch_size=rows, n_threads=2) for rows in (300, 60))
    assert [phase.split for phase in many.phases] == ["rows"] and many.n_barriers == 0 and many.chunk == 75
    assert [(phase.split, phase.barrier) for phase in few.phases] == [("columns", True), ("rows", False)]
    assert kinds(few) == [["dense", "unit"], ["dense", "unit", "dense", "unit", "output"]]
    assert few.chunk == 60 and few.workspace_size < 2 * many.workspace_size
    assert net.program("predict", batch_size=60, n_threads=1).n_barriers == 0
    narrow = Network([Dense(50, "relu"), Dense(2)], n_inputs=30, dtype="float32", random_state=0)
    assert [phase.split for phase in narrow.program("predict", batch_size=96, n_threads=2).phases] == ["rows"]


def test_predictions_of_one_row_are_shared_by_parts_of_sums():
    """Those that a sum is made of anyway, where there are as many for each member."""
    net = Network([Dense(500, "relu"), Dense(700, "relu"), Dense(2)], n_inputs=784, dtype="float32", random_state=0)
    one, three = (net.program("predict", batch_size=1, n_threads=n_threads) for n_threads in (2, 3))
    parts, alone = [["dense_parts"], ["sum_parts", "unit"]], ["dense", "unit", "output"]
    assert kinds(one) == [*parts, *parts, alone]
    assert [(phase.split, phase.barrier) for phase in one.phases[:2]] == [("alone", True), ("columns", True)]
    assert [op for phase in kinds(three) for op in phase] == ["dense", "unit"] * 3 + ["output"]
    assert "dense_parts" not in str(net.program("predict", batch_size=2, n_threads=2))


def test_no_gradient_that_no_weight_needs():
    """Of a branch without weights on X; with that of the inputs, `backward` needs all."""
    net = Network([Parallel([[Dense(4)], [fastbp.Activation("tanh")]]), Dense(2)], n_inputs=5, random_state=0)
    ops = [op.kind for phase in net.program().phases for op in phase.ops]
    assert ops.count("unit_back") == 3 and ops.count("move_back") == 1 and ops.count("move") == 3
    ops = [op.kind for phase in net.program("backward").phases for op in phase.ops]
    assert ops.count("unit_back") == 4 and ops.count("move_back") == 2


@pytest.mark.parametrize(("arguments", "message"), [
    ({"mode": "fit"}, "mode must be one of .*, got 'fit'"),
    ({"batch_size": 0}, "batch_size must be an integer of at least 1"),
    ({"n_threads": 0}, "n_threads must be"),
    ({"X": np.ones((3, 2))}, "X must have shape"),
    ({"X": np.ones((0, N_INPUTS))}, "X must have at least one row, got 0"),
    ({"loss": None, "mode": "gradient"}, "mode 'gradient' needs a network with a loss, this one has loss=None"),
])  # fmt: skip
def test_bad_arguments(arguments, message):
    net = network(NETWORKS["residual"], loss=arguments.pop("loss", "squared_error"))
    with pytest.raises(ValueError, match=message):
        net.program(**arguments)


def test_weights_in_place():
    """Where a call has one batch of few rows, as in `partial_fit`, and in no step among many."""
    layers = [Dense(40, "relu"), Dense(3)]
    net = Network(layers, n_inputs=64, loss="softmax_cross_entropy", random_state=0)
    X = np.ones((33, 64)) + np.arange(64)
    assert not net.program("train", batch_size=32).weights_in_place
    assert not net.program("train", batch_size=32, X=X).weights_in_place
    for mode in ("train", "gradient", "loss", "forward", "backward"):
        assert net.program(mode, batch_size=33, X=X).weights_in_place
        assert not net.program(mode, batch_size=3000, X=np.tile(X, (10, 1))).weights_in_place
    program = net.program("train", batch_size=33, X=X, n_threads=2)
    assert "weights are used where they lie" in str(program) and not any(p.split == "columns" for p in program.phases)
