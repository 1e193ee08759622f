"""What the docstrings of both estimators say."""

AGREEMENT = """\
    The same seed gives the same network as there, to rounding. It is another one where arithmetic is:
    solver='lbfgs' is float32 for float32 X, where scikit-learn goes over to float64."""

PARAMETERS = """\
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Number of units of each hidden layer; empty for none.
    activation : str, LeakyReLU or ELU, default='relu'
        Activation of the hidden layers: 'identity', 'logistic', 'tanh', 'relu', or another of those
        that `fastbp.Dense` describes (but for 'step', which has no derivative).
    solver : {'lbfgs', 'sgd', 'adam', 'adamw', 'rmsprop', 'adagrad'} or rule, default='adam'
        'lbfgs' is quasi-Newton on all rows at once; the other names are stochastic solvers, which go
        through mini-batches. An object such as `fastbp.RMSProp(0.01, momentum=0.9)` brings all its
        settings along, its learning rate among them: the parameters below that name solvers are then
        not used. By name 'rmsprop' and 'adagrad' have the default settings but for the learning rate.
        `fastbp.SAM` of such an object minimises sharpness too.
        Objects of `fastbp.Rprop`, `Quickprop`, `Newton`, `NewtonCG`, `BFGS` and `LBFGS` are
        full-batch rules: one epoch is one iteration on all rows. As with 'lbfgs' there are no
        `partial_fit`, no dropout and no early stopping; all but `LBFGS`, `Rprop` and `Quickprop`
        need ``l1_ratio=0``. Settings of objects are parameters too, for `set_params` and grid searches:
        ``solver__learning_rate``, ``learning_rate__maximum``, ``activation__slope``, ``loss__delta``.
    alpha : float, default=0.0001
        Strength of the penalty on the weights (biases are free). It is divided by the sum of the
        sample weights of the batch.
    batch_size : int or 'auto', default='auto'
        Rows of a mini-batch; 'auto' is ``min(200, n_samples)``.
    learning_rate : {'constant', 'invscaling', 'adaptive'} or schedule, default='constant'
        Schedule of 'sgd': the initial rate throughout; ``learning_rate_init / (t_ + 1)**power_t``
        after each epoch; or a fifth of it each time that training has stopped to improve. An object
        such as `fastbp.OneCycle` is for all stochastic solvers, and brings all its rates along. One
        that reduces the rate on a plateau watches the training loss, with early stopping the
        validation loss. Must be 'constant' if `solver` is an object, whose rate may be a schedule.
    learning_rate_init : float, default=0.001
        Initial learning rate of the stochastic solvers; not used if `learning_rate` or `solver` is
        an object.
    power_t : float, default=0.5
        Exponent of 'invscaling'.
    max_iter : int, default=200
        Epochs of stochastic solvers, iterations of 'lbfgs' and full-batch rules at most.
    shuffle : bool, default=True
        Whether each epoch of a stochastic solver takes the rows in a new order.
    random_state : int, RandomState instance or None, default=None
        Source of the initial parameters, the validation split and the order of the rows.
    tol : float, default=1e-4
        Least improvement of loss or validation score that counts as one; gradient tolerance of
        'lbfgs'. Not used by full-batch rules that end by themselves, all but `Rprop` and `Quickprop`.
    verbose : bool or int, default=False
        Whether to print the loss of each epoch.
    warm_start : bool, default=False
        Whether `fit` starts from the parameters of the fit before. As with `partial_fit`, the structure is
        then that of the first fit: other `hidden_layer_sizes` or `hidden_layers`, classes or numbers of
        features or targets, and float64 X for a network of float32, are errors.
    momentum : float, default=0.9
        Momentum of 'sgd'.
    nesterovs_momentum : bool, default=True
        Whether the momentum of 'sgd' is Nesterov's.
    early_stopping : bool, default=False
        Whether stochastic solvers watch the score on a validation set rather than the training
        loss, and end with the parameters that scored best.
    validation_fraction : float, default=0.1
        Share of the rows set aside for validation when `fit` gets no `X_val`.
    beta_1, beta_2 : float, default=0.9, 0.999
        Decay rates of the first and second moments of 'adam' and 'adamw'.
    epsilon : float, default=1e-8
        Added to the denominator of 'adam' and 'adamw'.
    n_iter_no_change : int or inf, default=10
        Training ends after more than that many epochs in a row without improvement (stochastic
        solvers, `Rprop`, `Quickprop`).
    max_fun : int, default=15000
        Evaluations of the loss by 'lbfgs' at most.
    l1_ratio : float, default=0.0
        Share of L1 in the penalty ``alpha * (l1_ratio * |w|_1 + (1 - l1_ratio) / 2 * |w|_2^2)``.
        With 'lbfgs', and with rules that have ``proximal=True``, weights reach zero exactly."""

DROPOUT = """\
    dropout : float, or list or tuple of float, default=0.0
        Probability, in [0, 1), with which stochastic solvers set an output of a hidden unit to zero
        for a row in training: one for all hidden layers, or one for each. See `fastbp.Dense`."""

HIDDEN_LAYERS = """\
    hidden_layers : list or tuple of layers or None, default=None
        The hidden layers themselves, of any kind that `fastbp.Network` takes, in the place of what
        `hidden_layer_sizes`, `activation` and `dropout` describe, which must have their defaults then. The
        output layer, a `fastbp.Dense`, comes after them. Their settings are parameters too, for `set_params` and
        grid searches: ``hidden_layers__0__n_units``, ``hidden_layers__1__layers__0__dropout``. `l1` and `l2` of a
        layer are in the place of its shares of `alpha`, and divided as it is; dropout and `max_norm` are for
        stochastic solvers. Sparse X is for layers that begin with a `fastbp.Dense`."""

AVERAGE = """\
    average : EMA or SWA or None, default=None
        An average of the parameters that a stochastic solver goes through, `fastbp.EMA` over steps or `fastbp.SWA`
        over epochs, which the network has after each epoch and in the end: scores of early stopping and `coefs_` are
        those of the average, `loss_curve_` is not. `partial_fit` goes on from the parameters that are learnt, and with
        the average, unless the ones in `coefs_` were changed; with `warm_start`, `fit` goes on from `coefs_`."""

ATTRIBUTES = """\
    coefs_ : list of ndarray of shape (n_in, n_out)
        Weights of each layer. They are live: what is assigned or written to them counts. With `hidden_layers`
        they are those of each place that has some, in the order of the layers, as in `fastbp.Network`: shared ones
        are there for each of their places, transposed where they are so.
    intercepts_ : list of ndarray of shape (n_out,)
        Biases of each layer, or place; None for a projection, which has none.
    loss_ : float
        Training loss of the last epoch, including the penalty; with 'lbfgs' that at the end.
    loss_curve_ : list of float
        Training loss of each epoch, before its updates (not with 'lbfgs'). A full-batch rule that ends
        by itself ends with an epoch that made no progress, whose loss is that at the end.
    best_loss_ : float or None
        Least of `loss_curve_`; None with early stopping.
    validation_scores_ : list of float or None
        Score on the validation set after each epoch; None without early stopping.
    best_validation_score_ : float or None
        Best of `validation_scores_`.
    validation_loss_curve_ : list of float or None
        Loss on the validation set after each epoch, without penalty; None without early stopping.
    converged_ : bool
        Whether the last call ended because there was no further improvement.
    n_iter_ : int
        Epochs, or iterations of 'lbfgs' and full-batch rules, of the last call.
    t_ : int
        Training rows seen by stochastic solvers, counting repetitions.
    n_layers_ : int
        Number of layers including input and output; layers within one of `hidden_layers` are not counted.
    n_outputs_ : int
        Number of output units.
    out_activation_ : str
        Activation of the output units.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns of X, when all are strings."""
