"""What users write, to be checked: mypy --strict must find nothing here."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import fastbp
from fastbp import SGD, Dense, MLPClassifier, MLPRegressor, Network

X = np.random.default_rng(0).normal(size=(100, 4))
y = (X[:, 0] > 0).astype(np.int64)


def of_estimators() -> float:
    clf = MLPClassifier((32, 16), "relu", solver="adam", alpha=1e-3, max_iter=20, random_state=0).fit(X, y)
    clf.partial_fit(X, y).set_params(activation=fastbp.LeakyReLU(0.2))
    labels: NDArray[np.int64] = clf.predict(X)
    p = clf.predict_proba(X.astype(np.float32))
    parts = [clf.coefs_[0].shape[0], len(clf.loss_curve_), clf.n_iter_, labels.size, p.shape[1], clf.transform(X).size]

    reg = MLPRegressor(loss="gaussian", hidden_layer_sizes=10, solver=fastbp.AdamW(0.01, weight_decay=0.05))
    mean, std = reg.fit(X.tolist(), X[:, 1]).predict(X, return_std=True)
    schedule = fastbp.WarmUp(50, then=fastbp.CosineWarmRestarts(0.1, t_0=200))
    MLPRegressor(fastbp.Quantile([0.1, 0.9]), solver=SGD(schedule, momentum=0.9), average=fastbp.SWA(5))
    MLPClassifier(hidden_layers=[Dense(8, "gelu"), fastbp.Dropout(0.1)], learning_rate=fastbp.OneCycle(0.1, 20))
    MLPClassifier(class_weight={0: 1.0, 1: 2.0}, loss=fastbp.SoftmaxCrossEntropy(label_smoothing=0.1))
    Z = fastbp.Whitening("zca", reg_covar=0.1).fit(X).transform(X)
    return float(clf.score(X, y) + sum(parts) + mean[0] + std[0] + Z.mean())


def show(epoch: int, history: fastbp.History) -> bool:
    return bool(history.loss[-1] < 0.01)


def of_networks(path: Path) -> float:
    layers: list[fastbp.Layer] = [
        Dense(16, "sigmoid", dropout=0.1, initializer="he_normal"), fastbp.BatchNorm(), fastbp.Activation("relu"),
        fastbp.Residual([Dense(16, fastbp.ELU(0.5)), Dense(16)]), Dense(2),
    ]  # fmt: skip
    net = Network(layers, n_inputs=4, loss="softmax_cross_entropy", l2=1e-4, dtype="float32", random_state=0)
    history = net.fit(X, y, optimizer="adam", epochs=3, validation_data=(X, y), early_stopping=2, callback=show)
    net.partial_fit(X, y, optimizer=fastbp.SAM(SGD(0.1)), average=fastbp.EMA())
    a = net.predict(X)
    net.l2 = 0.0
    net.parameters[:] *= 2
    cost, gradient = net.value_and_gradient(X, y, penalty=True)
    net.save(path)
    again = Network.load(path)
    barriers = again.program("train", batch_size=32).n_barriers
    z = net.activations(X)["0"].z
    fastbp.display.ArchitectureDisplay.from_network(again)
    return float(cost + gradient.sum() + history.loss[0] + a.argmax(axis=1).mean() + barriers + z.sum())


def of_custom_losses() -> None:
    net = Network([Dense(8, "tanh"), Dense(1)], n_inputs=4, loss=None)
    a = net.forward(X)
    gradient, input_gradient = net.backward((a - X[:, :1]) / len(a))
    net.step(gradient, fastbp.RMSProp(0.01, momentum=0.9))
    net.step_with(X, lambda out: out - X[:, :1], "sgd")
    print(input_gradient.shape)


def of_heads() -> float:
    heads = fastbp.Parallel({"kind": [Dense(2)], "size": [Dense(1)]})
    loss: dict[str, fastbp.losses.Loss] = {"kind": "softmax_cross_entropy", "size": fastbp.Huber()}
    net = Network([fastbp.Embed({0: 3}, dim=2), Dense(8), heads], n_inputs=4, loss=loss, loss_weights={"size": 0.5})
    net.fit(np.abs(X).astype(int), {"kind": y, "size": X[:, 0]}, optimizer=fastbp.LBFGS(), epochs=3)
    return float(net.predict(np.abs(X).astype(int))["kind"].argmax())
