"""Mistakes, one a line, that a type checker has to find; the comments tell of what kind each is. Nothing runs this."""

import numpy as np

import fastbp
from fastbp import SGD, Adam, Dense, MLPClassifier, MLPRegressor, Network

X, y = np.zeros((10, 4)), np.zeros(10)
net = Network([Dense(1)], n_inputs=4)

Dense(8, "rleu")  # arg-type
Dense([8])  # arg-type
Dense(8, actvation="relu")  # call-arg
Dense(8, "relu", initializer="xavier")  # arg-type
fastbp.Activation("gleu")  # arg-type
fastbp.Parallel([[Dense(1)]], combine="sum")  # arg-type
fastbp.Residual([Dense(1)], projection="conv")  # arg-type
fastbp.Residual(Dense(1))  # arg-type
fastbp.Embed([3], dim=2)  # arg-type
fastbp.VarianceScaling(1.0, "fan")  # arg-type
fastbp.Quantile("median")  # arg-type
SGD("0.1")  # arg-type
SGD(0.1, momentum=[0.9])  # arg-type
Adam(0.1, beta1=0.9)  # call-arg
Adam(schedule=fastbp.Exponential(0.1))  # call-arg
fastbp.SAM(fastbp.LBFGS())  # arg-type
fastbp.Exponential(0.1, per="batch")  # arg-type
fastbp.OneCycle(0.1, total=100, anneal="cos")  # arg-type
fastbp.WarmUp(100)  # call-arg
fastbp.Prune(0.9, per="epochs")  # arg-type
fastbp.ImageAugmentation(28)  # arg-type
fastbp.Whitening("svd")  # arg-type
fastbp.Dens(8)  # attr-defined
Network([Dense(1)], n_inputs=[4])  # arg-type
Network([Dense(1)], 4)  # call-arg
Network([Dense(1)], n_inputs=4, loss="mse")  # arg-type
Network([Dense(1)], n_inputs=4, dtype="float16")  # arg-type
Network(["relu"], n_inputs=4)  # list-item
net.fit(X, y, optimizer="adamm")  # arg-type
net.fit(X, y, optimiser="adam")  # call-arg
net.fit(X, y, epochs=[10])  # arg-type
net.fit(X, y, then="restart")  # arg-type
net.fit(X)  # call-arg
net.fit(X, y, callback=lambda epoch: None)  # arg-type
net.program("test")  # arg-type
net.prediction(X)  # attr-defined
net.n_inputs = 5  # misc
net.step(np.zeros(5))  # call-arg
MLPClassifier((10, "a"))  # arg-type
MLPClassifier(activation="rleu")  # arg-type
MLPClassifier(solver="L-BFGS")  # arg-type
MLPClassifier(hidden_layers=Dense(8))  # arg-type
MLPClassifier(loss="mse")  # arg-type
MLPClassifier(max_iter=[200])  # arg-type
MLPClassifier(epochs=10)  # call-arg
MLPRegressor("log_loss")  # arg-type
MLPRegressor(learning_rate="cosine")  # arg-type
MLPRegressor(class_weight="balanced")  # call-arg
MLPClassifier().fit(X, y, eval_set=(X, y))  # call-arg
MLPClassifier().partial_fit(X, y, classses=[0, 1])  # call-arg
MLPClassifier().predict()  # call-arg
