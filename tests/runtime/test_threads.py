"""Several Python threads at once: what they share, and what they may not."""

import threading
from contextlib import contextmanager

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from runtime_cases import NETWORKS, data, make, run_alone
from sklearn.ensemble import BaggingClassifier

import fastbp
from fastbp import SGD, Adam, threads


def test_threads_left_over_by_other_calls():
    with threads.team(None, False) as all_of_them:
        assert all_of_them == threads.default_n_threads()
        with threads.team(None, False) as rest:
            assert rest == 1
        with threads.team(3, False) as asked_for:
            assert asked_for == 3
    with threads.team(None, False) as again:
        assert again == all_of_them


def test_a_fit_keeps_a_processor_between_its_epochs(monkeypatch):
    """Its calls come and go; another fit leaves it one thread all the while, and takes it back afterwards."""
    monkeypatch.setattr(threads, "default_n_threads", lambda: 4)
    net, other = make([4, 2]), make([4, 2])
    inside, leave = threading.Event(), threading.Event()

    def fit():
        with threads.exclusive(other._model.engine), threads.exclusive(other._model.engine):
            with threads.team(None, False):
                pass
            inside.set()
            leave.wait(60)

    def granted():
        with threads.team(None, False) as n_threads:
            return n_threads

    worker = threading.Thread(target=fit)
    worker.start()
    assert inside.wait(60)
    with threads.exclusive(net._model.engine):
        assert granted() == 3
        leave.set()
        worker.join(60)
        assert granted() == 4
    assert granted() == 4 and threads.n_busy() == 0


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_bagging_in_threads(monkeypatch):
    """The members of scikit-learn's bagging train side by side, are those of one job, and share the processors."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(8000, 50)).astype(np.float32)
    y = (X[:, :3] > 0) @ [1, 2, 4]
    plain_team, granted, side_by_side = threads.team, {}, threading.Barrier(2, timeout=30)

    @contextmanager
    def team(n_threads, uses_blas):
        me = threading.get_ident()
        if me not in granted:
            side_by_side.wait()  # the other one's fit has begun too
        with plain_team(n_threads, uses_blas) as n_threads:
            granted.setdefault(me, n_threads)
            yield n_threads

    def fit(n_jobs):
        mlp = fastbp.MLPClassifier(64, batch_size=50, max_iter=4, random_state=0, dropout=0.2)
        with joblib.parallel_config("threading", n_jobs=n_jobs):
            return BaggingClassifier(mlp, n_estimators=4, random_state=0).fit(X, y)

    one = fit(1)
    monkeypatch.setattr(threads, "team", team)
    monkeypatch.setattr(threads, "default_n_threads", lambda: 2)
    two = fit(2)
    assert list(granted.values()) == [1, 1]
    assert threads.n_busy() == 0
    for a, b in zip(one.estimators_, two.estimators_, strict=True):
        assert a.loss_curve_ == b.loss_curve_
    assert_array_equal(one.predict_proba(X[:1000]), two.predict_proba(X[:1000]))


def test_two_python_threads_at_once():
    """Different networks train, and one network predicts, in two threads, with the results of one."""
    sizes, batch, n = NETWORKS["one hidden layer"]
    X, y = data(sizes, n)
    expected = make(sizes)
    expected.fit(X, y, batch_size=batch, epochs=5)
    a = expected.predict(X)
    results = {}

    def work(i):
        net = make(sizes)
        net.fit(X, y, batch_size=batch, epochs=5)
        results[i] = net.parameters, expected.predict(X)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert len(results) == 4
    for parameters, prediction in results.values():
        assert_array_equal(parameters, expected.parameters)
        assert_array_equal(prediction, a)


@pytest.mark.parametrize("name", NETWORKS)
def test_predictions_by_one_network_at_once(name):
    """A row, a few and many, in several Python threads, some of them with teams."""
    sizes, _, n = NETWORKS[name]
    X, _ = data(sizes, n)
    net = make(sizes)
    expected = net.predict(X)
    wrong = []

    def work(i):
        for k in range(20):
            rows = slice(k, k + (1, 10, 100, n)[(i + k) % 4])
            if not np.array_equal(net.predict(X[rows], n_threads=(None, 1, 3)[k % 3]), expected[rows]):
                wrong.append((i, k))

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not wrong


def test_only_predict_is_for_several_threads():
    sizes = [200, 300, 10]
    X, _ = data(sizes, 3000)
    net = make(sizes)
    expected, other = net.predict(X), []

    def work():
        for _ in range(20):
            assert_array_equal(net.predict(X), expected)
            try:
                assert_array_equal(net.forward(X), expected_forward)
            except RuntimeError as error:
                other.append(str(error))

    expected_forward = net.forward(X)
    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert other and all("a signal handler or another thread can only predict or save" in error for error in other)


def test_training_one_network_twice_at_once_is_an_error():
    """The second call is refused and the first one goes on as if it had not been."""
    sizes = [200, 300, 10]
    X, y = data(sizes, 20000)
    net, alone = make(sizes), make(sizes)
    settings = {"optimizer": Adam(), "epochs": 3}
    started = threading.Event()
    worker = threading.Thread(
        target=net.fit, args=(X, y), kwargs={**settings, "callback": lambda *_: started.set()}
    )
    worker.start()
    started.wait(30)
    for call in (
        lambda: net.fit(X, y),
        lambda: net.value_and_gradient(X, y),
        lambda: net.step(np.zeros_like(net.parameters), SGD()),
    ):
        with pytest.raises(RuntimeError, match="is being trained or evaluated by another call"):
            call()
    worker.join()
    alone.fit(X, y, **settings)
    assert_array_equal(net.parameters, alone.parameters)


def test_weights_written_by_another_thread_during_training():
    """Whether a batch makes a step is decided once: members that differ would wait for each other for ever."""
    printed = run_alone("""
        import threading
        import numpy as np
        from fastbp import SGD, Dense, Network

        batch, n = 2000, 20_000  # steps that are long enough for two members
        rng = np.random.default_rng(0)
        X, y, w = rng.normal(size=(n, 120)).astype("f"), rng.integers(0, 10, n), np.zeros(n)
        w[::batch] = 1
        net = Network([Dense(300, "relu"), Dense(10)], n_inputs=120, loss="softmax_cross_entropy", dtype="float32",
                      random_state=0)
        ended = threading.Event()

        def write():
            while not ended.is_set():
                w[::batch] = 0
                w[::batch] = 1

        data = net._model.check_rows(X, y, w).data()
        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        for _ in range(30):
            record, _ = net._model.train_epoch(data, None, batch, SGD(1e-6), n_threads=2)
            assert set(record[:, 2]) <= {0, 1}
        ended.set()
        print(net._model.engine.n_members)
    """)
    assert int(printed) >= 1
