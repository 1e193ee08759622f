"""The contenders: one class per library, each the fastest plain way its users would write.

An instance is made for a `grid.Case` and its data and has some of the methods

    train_epoch()       one shuffled epoch over the data, going on with the optimizer's state
    partial_fit(X, y)   one step on these rows, NumPy arrays, as they come in a stream
    by_hand(X)          one step for a cost of one's own, half the squared length of the outputs a,
                        whose gradient with respect to a is a
    predict(X)          class probabilities (n, n_classes), from and to NumPy arrays
    classify(X)         class labels (n,), estimators only

Libraries are imported by the instances, so that this module can be read where some are missing and
so that a process has only the thread pools of the contender it runs. The number of threads is that
of the environment (``OMP_NUM_THREADS``) and of the CPUs the process may use.

scikit-learn's and fastbp's `MLPClassifier` have one logistic output where there are two classes:
the same model as two softmax outputs, with a little less arithmetic.
"""

import os
from functools import partial
from importlib.util import find_spec

import numpy as np
from grid import data, initial_parameters, initial_tables, offsets


class Fastbp:
    """`fastbp.Network`, trained with `partial_fit`."""

    name, module = "fastbp", "fastbp"
    tasks, sparse, embeds = ("train_epoch", "partial_fit", "by_hand", "predict"), False, True

    def __init__(self, case, X, y):
        import fastbp

        *hidden, n_outputs = case.sizes[1:]
        layers = [fastbp.Dense(n, activation="relu") for n in hidden] + [fastbp.Dense(n_outputs)]
        if case.categories:
            layers = [fastbp.Embed(dict(enumerate(case.categories)), case.dim), *layers]
        net = fastbp.Network(
            layers,
            n_inputs=X.shape[1],
            loss=None if case.task == "by_hand" else "softmax_cross_entropy",
            dtype=case.dtype,
            random_state=0,
        )
        if case.categories:
            parts = [part for pair in zip(*initial_parameters(case), strict=True) for part in pair]
            net.parameters[:] = np.concatenate([part.ravel() for part in (initial_tables(case), *parts)])
        if case.optimizer == "sgd":
            optimizer = fastbp.SGD(case.learning_rate, momentum=0.9)
        else:
            optimizer = fastbp.Adam(case.learning_rate)
        self.partial_fit = partial(net.partial_fit, optimizer=optimizer, epochs=1, batch_size=case.batch_size)
        self.train_epoch = partial(self.partial_fit, X, y)
        self.predict = net.predict
        self.net, self.optimizer, self.gradient = net, optimizer, np.empty_like(net.parameters)

    def by_hand(self, X):
        gradient, _ = self.net.backward(self.net.forward(X), out=(self.gradient, None))  # as the others, none of X
        self.net.step(gradient, self.optimizer)


class Estimator:
    """What scikit-learn's and fastbp's `MLPClassifier` share: all but the import."""

    tasks, sparse, embeds = ("train_epoch", "partial_fit", "predict", "classify"), True, False

    def __init__(self, case, X, y):
        model = self.estimator()(
            hidden_layer_sizes=case.sizes[1:-1],
            solver=case.optimizer,
            alpha=0.0,
            batch_size=min(case.batch_size, case.n_samples),
            learning_rate_init=case.learning_rate,
            momentum=0.9,
            nesterovs_momentum=False,
            random_state=0,
        )
        # One step makes the attributes, which then get the common start.
        model.partial_fit(X[: case.batch_size], y[: case.batch_size], classes=np.arange(case.sizes[-1]))
        weights, biases = initial_parameters(case)
        if case.sizes[-1] == 2:
            weights[-1], biases[-1] = np.diff(weights[-1]), np.diff(biases[-1])
        model.coefs_, model.intercepts_ = weights, biases
        self.partial_fit = model.partial_fit
        self.train_epoch = partial(model.partial_fit, X, y)
        self.predict = model.predict_proba
        self.classify = model.predict


class FastbpClassifier(Estimator):
    """`fastbp.MLPClassifier`."""

    name, module = "fastbp MLPClassifier", "fastbp"

    def estimator(self):
        from fastbp import MLPClassifier

        return MLPClassifier


class ScikitLearn(Estimator):
    """`sklearn.neural_network.MLPClassifier`."""

    name, module = "scikit-learn", "sklearn"

    def estimator(self):
        from sklearn.neural_network import MLPClassifier

        return MLPClassifier


class PyTorch:
    """An eager `nn.Sequential`, a fused optimizer, batches by index and no `DataLoader`."""

    name, module = "PyTorch", "torch"
    tasks, sparse, embeds = ("train_epoch", "partial_fit", "by_hand", "predict"), False, True

    def __init__(self, case, X, y):
        import torch
        from torch import nn

        class Tables(nn.Module):
            """All tables as one, whose rows are read in one go."""

            def __init__(self):
                super().__init__()
                self.rows = nn.Embedding.from_pretrained(torch.from_numpy(initial_tables(case)), freeze=False)
                self.register_buffer("offsets", torch.from_numpy(offsets(case)))

            def forward(self, x):
                return self.rows(x + self.offsets).flatten(1)

        layers = [Tables()] if case.categories else []
        for W, b in zip(*initial_parameters(case), strict=True):
            layer = nn.Linear(*W.shape, dtype=getattr(torch, case.dtype))
            layer.load_state_dict({"weight": torch.from_numpy(W.T.copy()), "bias": torch.from_numpy(b)})
            layers += [layer, nn.ReLU()]
        self.torch, self.batch_size = torch, case.batch_size
        self.model = self.compiled(nn.Sequential(*layers[:-1]))
        self.loss = nn.functional.cross_entropy
        parameters = self.model.parameters()
        if case.optimizer == "sgd":
            self.optimizer = torch.optim.SGD(parameters, case.learning_rate, momentum=0.9, fused=True)
        else:
            self.optimizer = torch.optim.Adam(parameters, case.learning_rate, fused=True)
        self.embeds_X = bool(case.categories)
        self.X, self.y = self.tensor(X), torch.from_numpy(y)

    def tensor(self, X):
        X = self.torch.from_numpy(X)
        return X.long() if self.embeds_X else X

    def compiled(self, model):
        return model

    def train_epoch(self):
        for rows in self.torch.randperm(len(self.X)).split(self.batch_size):
            self.step(self.X.index_select(0, rows), self.y.index_select(0, rows))

    def step(self, x, y):
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(self.model(x), y).backward()
        self.optimizer.step()

    def partial_fit(self, X, y):
        self.step(self.tensor(X), self.torch.from_numpy(y))

    def by_hand(self, X):
        self.optimizer.zero_grad(set_to_none=True)
        a = self.model(self.tensor(X))
        a.backward(a.detach())
        self.optimizer.step()

    def predict(self, X):
        with self.torch.inference_mode():
            return self.model(self.tensor(X)).softmax(1).numpy()


class CompiledPyTorch(PyTorch):
    """The same through `torch.compile`, which takes some 20 s a network: only when asked for."""

    name, tasks = "torch.compile", ("train_epoch",)

    def compiled(self, model):
        return self.torch.compile(model)


class Jax:
    """The whole epoch in one jitted `lax.scan` with donated state, the shuffling inside; a single step jitted too."""

    name, module = "JAX", "jax"
    tasks, sparse, embeds = ("train_epoch", "partial_fit", "by_hand", "predict"), False, True
    shuffle_inside, unroll = True, 1

    def __init__(self, case, X, y):
        import jax
        import jax.numpy as jnp

        if case.dtype == "float64":
            jax.config.update("jax_enable_x64", True)
        n, learning_rate = case.n_samples, case.learning_rate

        def logits(parameters, x):
            *hidden, (W, b) = parameters["layers"]
            if case.categories:
                x = parameters["tables"][x.astype(int) + offsets(case)].reshape(len(x), -1)
            for V, c in hidden:
                x = jax.nn.relu(x @ V + c)
            return x @ W + b

        def loss(parameters, x, y):
            if case.task == "by_hand":
                return (logits(parameters, x) ** 2).sum() / 2
            log_p = jax.nn.log_softmax(logits(parameters, x))
            return -jnp.take_along_axis(log_p, y[:, None], axis=1).mean()

        def sgd(parameters, state, gradient):
            state = jax.tree.map(lambda v, g: 0.9 * v - learning_rate * g, state, gradient)
            return jax.tree.map(jnp.add, parameters, state), state

        def adam(parameters, state, gradient):
            m, v, t = state
            t = t + 1
            m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, gradient)
            v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, gradient)
            rate = learning_rate * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            parameters = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-8), parameters, m, v)
            return parameters, (m, v, t)

        update = sgd if case.optimizer == "sgd" else adam

        def step(carry, x, y):
            parameters, optimizer_state = carry
            value, gradient = jax.value_and_grad(loss)(parameters, x, y)
            return update(parameters, optimizer_state, gradient), value

        @partial(jax.jit, donate_argnums=0)
        def single(state, x, y):
            *carry, key = state
            carry, value = step(carry, x, y)
            return (*carry, key), value

        @partial(jax.jit, donate_argnums=0)
        def epoch(state, order, X, y):
            parameters, optimizer_state, key = state
            if order is None:
                key, subkey = jax.random.split(key)
                order = jax.random.permutation(subkey, n)

            batches = order.reshape(-1, case.batch_size)
            carry = parameters, optimizer_state
            carry, losses = jax.lax.scan(
                lambda carry, rows: step(carry, X[rows], y[rows]), carry, batches, unroll=self.unroll
            )
            return (*carry, key), losses

        parameters = {"layers": [(jnp.array(W), jnp.array(b)) for W, b in zip(*initial_parameters(case), strict=True)]}
        if case.categories:
            parameters["tables"] = jnp.array(initial_tables(case))
            X = X.astype(np.int32)
        zeros = partial(jax.tree.map, jnp.zeros_like, parameters)
        optimizer_state = zeros() if case.optimizer == "sgd" else (zeros(), zeros(), jnp.zeros((), case.dtype))
        self.state = parameters, optimizer_state, jax.random.key(0)
        self.rng = np.random.default_rng(0)
        self.X, self.y = jnp.array(X), jnp.array(y.astype(np.int32))
        self.epoch, self.single, self.wait = epoch, single, jax.block_until_ready
        self.probabilities = jax.jit(lambda parameters, x: jax.nn.softmax(logits(parameters, x)))

    def train_epoch(self):
        order = None if self.shuffle_inside else self.rng.permutation(len(self.X)).astype(np.int32)
        self.state, losses = self.epoch(self.state, order, self.X, self.y)
        self.wait((self.state, losses))

    def partial_fit(self, X, y):
        self.state, loss = self.single(self.state, X, y)
        self.wait((self.state, loss))

    def by_hand(self, X):
        self.partial_fit(X, None)

    def predict(self, X):
        return np.asarray(self.probabilities(self.state[0], X))


class TunedJax(Jax):
    """The same with NumPy's permutation, much faster than XLA's, and four steps unrolled."""

    name, tasks = "JAX tuned", ("train_epoch",)
    shuffle_inside, unroll = False, 4


def as_onnx(case):
    """The network as an ONNX file's bytes: one `Gemm` a layer, with `Relu` or `Softmax` after it."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, value = [], [], "x"
    last = len(case.sizes) - 2
    for i, (W, b) in enumerate(zip(*initial_parameters(case), strict=True)):
        constants += [numpy_helper.from_array(W, f"W{i}"), numpy_helper.from_array(b, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [value, f"W{i}", f"b{i}"], [f"z{i}"]))
        value = f"a{i}" if i < last else "probabilities"
        nodes.append(helper.make_node("Relu" if i < last else "Softmax", [f"z{i}"], [value]))
    real = TensorProto.FLOAT if case.dtype == "float32" else TensorProto.DOUBLE
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", real, [None, case.sizes[0]])],
        [helper.make_tensor_value_info(value, real, [None, case.sizes[-1]])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


class OnnxRuntime:
    """A session, which fuses each `Gemm` with its `Relu`. Prediction only."""

    name, module = "ONNX Runtime", "onnxruntime"
    tasks, sparse = ("predict",), False
    also_needs = ("onnx",)

    def __init__(self, case, X, y):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count()))
        self.session = onnxruntime.InferenceSession(as_onnx(case), options, providers=["CPUExecutionProvider"])

    def predict(self, X):
        return self.session.run(None, {"x": X})[0]


class OpenVino:
    """The same model as ONNX Runtime's, compiled for latency, in float32 whatever the dtype. Prediction only."""

    name, module = "OpenVINO", "openvino"
    tasks, sparse = ("predict",), False
    also_needs = ("onnx",)

    def __init__(self, case, X, y):
        import openvino

        core = openvino.Core()
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", os.cpu_count()),
            "INFERENCE_PRECISION_HINT": "f32",
        }
        model = core.read_model(as_onnx(case))
        self.request = core.compile_model(model, "CPU", settings).create_infer_request()

    def predict(self, X):
        return self.request.infer([X], share_inputs=True)[0]


class LiteRT:
    """Layers with `Relu` fused, run by XNNPACK in float32, for the case's number of rows alone. Prediction only."""

    name, module = "LiteRT", "ai_edge_litert"
    tasks, sparse = ("predict",), False
    also_needs = ("flatbuffers",)

    def __init__(self, case, X, y):
        from ai_edge_litert.interpreter import Interpreter

        n_threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count()))
        self.interpreter = Interpreter(model_content=as_tflite(case, len(X)), num_threads=n_threads)
        self.interpreter.allocate_tensors()
        self.output = self.interpreter.get_output_details()[0]["index"]

    def predict(self, X):
        self.interpreter.set_tensor(0, X)
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.output)


def as_tflite(case, n_rows):
    """The network for so many rows as a TensorFlow Lite file's bytes, in float32."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    def make(table, **fields):
        made = table()
        for name, value in fields.items():
            setattr(made, name, value)
        return made

    def of_code(code):
        return make(schema.OperatorCodeT, builtinCode=code, deprecatedBuiltinCode=code, version=1)

    buffers, tensors, operators = [schema.BufferT()], [], []

    def tensor(shape, values=None):
        buffer = 0
        if values is not None:
            buffers.append(make(schema.BufferT, data=np.frombuffer(values.astype(np.float32).tobytes(), np.uint8)))
            buffer = len(buffers) - 1
        tensors.append(make(schema.TensorT, shape=list(shape), type=schema.TensorType.FLOAT32, buffer=buffer))
        return len(tensors) - 1

    def operator(code, inputs, output, options, **settings):
        operators.append(
            make(
                schema.OperatorT,
                opcodeIndex=code,
                inputs=inputs,
                outputs=[output],
                builtinOptionsType=getattr(schema.BuiltinOptions, options),
                builtinOptions=make(getattr(schema, f"{options}T"), **settings),
            )
        )
        return output

    value = tensor((n_rows, case.sizes[0]))
    for W, b in zip(*initial_parameters(case), strict=True):
        last = len(operators) == len(case.sizes) - 2
        unit = schema.ActivationFunctionType.NONE if last else schema.ActivationFunctionType.RELU
        inputs = [value, tensor(W.T.shape, W.T), tensor(b.shape, b)]
        value = operator(0, inputs, tensor((n_rows, len(b))), "FullyConnectedOptions", fusedActivationFunction=unit)
    value = operator(1, [value], tensor((n_rows, case.sizes[-1])), "SoftmaxOptions", beta=1.0)
    graph = make(schema.SubGraphT, tensors=tensors, inputs=[0], outputs=[value], operators=operators)
    model = make(
        schema.ModelT,
        version=3,
        operatorCodes=[of_code(schema.BuiltinOperator.FULLY_CONNECTED), of_code(schema.BuiltinOperator.SOFTMAX)],
        subgraphs=[graph],
        buffers=buffers,
    )
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class Gemm:
    """A product of two matrices by SciPy's BLAS: the yardstick, as a layer without bias."""

    name, module = "gemm", "scipy"

    def __init__(self, case, X, y):
        from scipy.linalg import get_blas_funcs

        (W,), _ = initial_parameters(case)
        out = np.empty((len(X), W.shape[1]), case.dtype)
        # BLAS counts by columns, so the row-major X W is asked for as the transpose of Wᵀ Xᵀ.
        (gemm,) = get_blas_funcs(["gemm"], [W])
        self.predict = lambda X: gemm(1.0, W.T, X.T, c=out.T, overwrite_c=True)


CONTENDERS = {
    c.name: c
    for c in (
        Fastbp,
        FastbpClassifier,
        ScikitLearn,
        PyTorch,
        CompiledPyTorch,
        Jax,
        TunedJax,
        OnnxRuntime,
        OpenVino,
        LiteRT,
    )
    if all(find_spec(module) for module in (c.module, *getattr(c, "also_needs", ())))
}


def takes(contender, case):
    """Whether a contender has the case's task and takes its kind of input."""
    dense = case.density is None or contender.sparse
    return case.task in contender.tasks and dense and (not case.categories or getattr(contender, "embeds", False))


def work(contender, case):
    """The call to be timed, without arguments, on the data of the case."""
    X, y = data(case)
    method = getattr(contender(case, X, y), case.task)
    arguments = {"train_epoch": (), "partial_fit": (X, y)}.get(case.task, (X,))
    return partial(method, *arguments)
