"""A program for test_allocations.py, which says what it is to show: allocations.py LIBRARY GROUP."""

import ctypes
import itertools
import pickle
import sys
import warnings
from ctypes import c_char_p, c_void_p, py_object, pythonapi

import numpy as np
from scipy import sparse

from fastbp import EMA, LBFGS, SGD, SWA, Adam, BatchNorm, Dense, MLPClassifier, MLPRegressor, Network, Rprop, threads

warnings.simplefilter("ignore")
threads.n_processors = lambda: 8  # as many members as are asked for
library = ctypes.CDLL(sys.argv[1])


def use_handler():
    """Have NumPy allocate the memory of arrays through the library."""
    pythonapi.PyCapsule_New.restype = py_object
    pythonapi.PyCapsule_New.argtypes = c_void_p, c_char_p, c_void_p
    pythonapi.PyCapsule_GetPointer.restype = c_void_p
    pythonapi.PyCapsule_GetPointer.argtypes = py_object, c_char_p
    api = ctypes.cast(
        pythonapi.PyCapsule_GetPointer(np._core.multiarray._ARRAY_API, None), ctypes.POINTER(c_void_p)
    )
    set_handler = ctypes.PYFUNCTYPE(py_object, py_object)(api[304])  # PyDataMem_SetHandler
    address = ctypes.addressof(ctypes.c_char.in_dll(library, "handler"))
    set_handler(pythonapi.PyCapsule_New(address, b"mem_handler", None))


rng = np.random.default_rng(0)
X, y = rng.normal(size=(1010, 120)).astype("f"), rng.integers(0, 10, 1010)  # enough for several threads
zeros = X * (X > 1.5)
csr, weights, out = sparse.csr_array(zeros), rng.random(1010), np.empty((1010, 10), "f")
few = X[:60], np.array(list("abcdefghij"))[y[:60]]


def network(loss="softmax_cross_entropy", dtype="float32", between=(), **settings):
    layers = [Dense(100, "gelu"), *between, Dense(10)]
    net = Network(layers, n_inputs=120, loss=loss, l2=1e-3, dtype=dtype, random_state=0, **settings)
    net.step(np.ones_like(net.parameters), Adam(1e-6))  # a state that there is before
    return net


def fit(X, y=y, **settings):
    def call(net):
        history = net.fit(X, y, **{"optimizer": SGD(0.1, momentum=0.9), "batch_size": 50, **settings})
        return history.loss, history.validation_loss, net

    return call


def go_on(net):
    return net.partial_fit(X, y, optimizer=Adam(), epochs=2).loss, net


def step(optimizer):
    def call(net):
        net.step(np.ones_like(net.parameters), optimizer)
        return net

    return call


def learn(method):
    def call(model):
        getattr(model, method)(*few)
        return [*model.coefs_, *model.intercepts_, model.loss_]

    return call


def learnt(estimator=MLPClassifier, y=few[1], **settings):
    return estimator(hidden_layer_sizes=8, random_state=0, n_threads=1, max_iter=3, **settings).fit(few[0], y)


# group: name: (a model, what to do with it)
CASES = {
    "training": {
        **{f"{n} members": (network(), fit(X, n_threads=n, epochs=2)) for n in (1, 2, 3)},
        **{f"one epoch alone, {n} members": (network(), fit(X, n_threads=n)) for n in (1, 2)},
        "state that there is": (network(), go_on),
        "moving average": (network(), fit(X, epochs=2, average=EMA())),
        "mean of epochs": (network(), fit(X[:100], y[:100], epochs=3, average=SWA(0))),
        "moving average of one epoch": (network(), fit(X[:100], y[:100], average=EMA())),
        "average with statistics": (network(between=[BatchNorm()]), fit(X[:100], y[:100], average=EMA())),
        "one step": (network(), step(SGD(0.1, momentum=0.9))),
        "one step of Rprop": (network(), step(Rprop())),
        "CSR": (network(), fit(csr, n_threads=2, epochs=2)),
        "zeros, weights and chunks": (network(), fit(zeros, batch_size=1010, sample_weight=weights, epochs=2)),
        "noise": (network(input_dropout=0.2, input_noise=0.1), fit(X, n_threads=2, epochs=2)),
        "early stopping": (
            network(), fit(X[:100], y[:100], epochs=3, validation_data=(X[100:200], y[100:200]), early_stopping=1,
                           then="continue"),
        ),
        "Rprop": (network(), fit(X[:50], y[:50], optimizer=Rprop(), batch_size=None, epochs=2)),
        "LBFGS": (network(dtype="float64"), fit(X[:50], y[:50], optimizer=LBFGS(), batch_size=None, epochs=2)),
    },
    "the rest of a network": {
        "a new one": (None, lambda _: network().parameters),
        **{f"predict, {n} members": (network(), lambda net, n=n: net.predict(X, n_threads=n)) for n in (1, 2, 3)},
        "predict CSR": (network(), lambda net: net.predict(csr, n_threads=2)),
        "predict into an array": (network(), lambda net: net.predict(X, out=out, n_threads=2) is out and out.copy()),
        "predict one row": (network(), lambda net: net.predict(X[:1])),
        **{
            f"cost and gradient, {n} members": (
                network(), lambda net, n=n: net.value_and_gradient(X, y, penalty=True, n_threads=n)
            )
            for n in (1, 2)
        },
        **{
            f"forward and backward, {n} members": (
                network(loss=None), lambda net, n=n: net.backward(net.forward(X, n_threads=n), n_threads=n)
            )
            for n in (1, 2)
        },
        "Hessian": (network(), lambda net: net.hessian_vector_product(X[:50], y[:50], net.parameters)),
    },
    "estimators": {
        "fit": (learnt(), learn("fit")),
        "partial_fit": (learnt(), learn("partial_fit")),
        "early stopping": (learnt(early_stopping=True), learn("fit")),
        "lbfgs": (learnt(solver="lbfgs"), learn("fit")),
        "regressor": (learnt(MLPRegressor, y[:60]), lambda reg: reg.partial_fit(few[0], y[:60]).coefs_),
        "predict": (learnt(), lambda clf: (clf.predict(X), clf.predict_proba(csr))),
    },
}  # fmt: skip


def same(a, b):
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return pickle.dumps(a) == pickle.dumps(b) if isinstance(a, Network) else np.array_equal(a, b)


def check(pickled, call):
    """Let each allocation that the call makes fail once; how many there are."""
    expected = call(pickle.loads(pickled))
    for n in itertools.count(1):
        model, error = pickle.loads(pickled), None
        before = pickle.dumps(model)
        library.fail(n)
        try:
            result = call(model)
        except MemoryError as caught:
            error = caught  # with all frames, and what these hold
        reached, refused = library.allocations_left() < 1, library.thread_refused()
        library.fail(0)
        assert threads.n_busy() == 0, n
        assert (error is not None) == (reached and not refused), (n, error)  # a thread that is not there is no error
        if error is None:
            assert same(result, expected), n
        else:
            assert pickle.dumps(model) == before, n
            assert same(call(model), expected), n
        if not reached:
            return n - 1


use_handler()
for name, (model, call) in CASES[sys.argv[2]].items():
    print(name, end=": ", flush=True)
    print(check(pickle.dumps(model), call), flush=True)
