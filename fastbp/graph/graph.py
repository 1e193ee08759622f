"""Values and ops: the forward program of a network, made by its layers.

Layers write ops, one after the other, each of which makes a value from one that is there, or adds to one:

    ``dense``        ``Z = H W + b``
    ``transposed``   ``Z = H W^T + b``
    ``rbf``          ``a_j = exp(-beta_j |h - w_j|^2)``, ``beta = exp(b)``
    ``sparse``       ``z_j = b_j + sum_k W_kj h_(columns_kj)``
    ``bins``         ``z_(i, t) = (min(max(h_i, b_t), b_(t+1)) - b_t) / (b_(t+1) - b_t)``, b being bounds for column i
    ``scale``        ``Z = H * w + b``, w and b for each column
    ``prelu``        ``Z = max(0, H) + w * min(0, H)``
    ``batch_norm``   ``Z = (H - mean) / sqrt(variance + epsilon)``, of columns, over the rows of a batch
    ``group_norm``   the same of each row by itself, over the columns of a group of them; ``* w + b`` (see fused.py)
    ``weight_norm``  ``Z = H * s + b``, H being a product with weights V: ``s = w / |columns of V|``, or, without w,
                     ``s = 1 / (u^T V v)`` with two unit vectors
    ``embed``        ``Z[:, column:][:, :n_out] = W[x]``, x being column `source` of X, integers
    ``move``         ``Z[:, column:][:, :n] = H[:, source:][:, :n]``
    ``add``          ``Z[:, column:][:, :n] += H[:, source:][:, :n]``
    ``unit``         ``A = f(Z)``, in place, and the dropout of A

Every value has one ``unit``, after the last op that writes to it: the rows of Z are still in cache then. In
``gradient`` there is a rule for each of them.
"""

from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from ..settings import FrozenArray

N_MAX = 2**31 - 1  # columns of a value, as BLAS counts them


@dataclass(frozen=True)
class Connections:
    """Which of `n_in` columns the units of a sparse layer read; None: they have not been drawn."""

    n_in: int
    columns: object  # FrozenArray of int32, shape (fan_in, n_out)


@dataclass(frozen=True)
class Weights:
    """``W (n_in, n_out)`` and, if there is one, ``b (n_out,)``, in a network's flat vector of parameters.

    What parameters start from and what pulls at them their role says:

    - "weight": W of a product, or a table. It starts by its layer's initializer or the network's, times `start`, and b
      by that initializer; it alone has penalties, weight decay and max-norm.
    - "bias": b, unless W is a "centre". Alone, with ``n_in = 0``, it starts from 0.
    - "scale": W that multiplies single features, ``n_in = 1``. It starts from `start`, or normal numbers around that
      with a `deviation`, b from 0.
    - "centre": those of radial basis functions, and b, the logarithms of beta. Both are drawn.
    """

    layer: object  # whose l1, l2, max_norm and initializer a "weight" has
    role: str
    n_in: int
    n_out: int
    has_bias: bool
    offset: int  # of W in the flat vector; b follows it
    start: float = 1.0
    deviation: float = 0.0
    fans: tuple | None = None  # that an initializer counts; None: n_in and n_out
    mask: object = None  # FrozenArray (n_in, n_out): the weights that there are, others are 0; None: all
    connections: object = None  # of a sparse layer, whose W is (fan_in, n_out)

    @property
    def size(self):
        """Number of parameters."""
        return (self.n_in + self.has_bias) * self.n_out

    @property
    def max_norm(self):
        """Bound of the norm of each column of W; None for none."""
        return self.layer.max_norm if self.role == "weight" else None


@dataclass(frozen=True)
class Value:
    """An array ``(n_samples, n)``, the output of a unit ``f(z)`` with inverted dropout."""

    name: str  # of the layer that it comes from
    n: int
    unit: str = "identity"
    parameter: float = 0.0  # of the unit
    dropout: float = 0.0
    stream: int = 0  # of random words, for dropout
    section: int = -1  # of values that are not kept for the pass back, but made again; -1: it is kept


@dataclass(frozen=True)
class State:
    """What a layer keeps and does not learn: `n` elements of a network's flat vector of layers' state."""

    name: str  # begins with that of the layer
    n: int
    initial: object  # a number, or a FrozenArray of n
    offset: int


@dataclass(frozen=True)
class Op:
    """A step of a program, from one value to another (numbers in `Graph.values`)."""

    kind: str
    input: int
    output: int
    weights: int = -1  # numbers in `Graph.weights`: of W,
    bias: int = -1  # and of b, -1 for none
    column: int = 0  # of Z, from which on it writes
    source: int = 0  # of H, from which on it reads
    n: int = 0  # columns of H that it reads; 0: all of them, as products do
    accumulate: bool = False  # of gradients: add to what is there
    # number in `Graph.states`: of batch_norm's mean, before the variance, weight_norm's u, before v, or bins' bounds
    state: int = -1
    epsilon: float = 0.0
    momentum: float = 0.0  # with which mean and variance follow those of batches in training; 0: they stay as they are
    n_groups: int = 1  # of group_norm
    of: int = -1  # of weight_norm: number of V in `Graph.weights`
    n_iterations: int = 0  # how often u and v follow V in a step


@dataclass
class Graph:
    """The forward program of a network of `n_inputs` inputs; value 0 is X.

    Attributes
    ----------
    values : list of Value
    weights : list of Weights
    forward : list of Op
    places : list of tuple (weights, bias, transposed)
        Each use of weights by a layer, in the order of layers.
    outputs : dict
        Numbers of the values that are the network's outputs, by name; None is the name of a single one.
    shared : dict
        Layers that have one set of weights for all their places, by name.
    states : list of State
        What layers keep, each place of a shared one for itself.
    """

    n_inputs: int
    values: list = field(default_factory=list)
    weights: list = field(default_factory=list)
    forward: list = field(default_factory=list)
    places: list = field(default_factory=list)
    outputs: dict = field(default_factory=dict)
    shared: dict = field(default_factory=dict)
    states: list = field(default_factory=list)

    def __post_init__(self):
        self.values.append(Value("X", self.n_inputs))
        self._shared_weights = {}  # numbers of weights, by the name of what is shared and a count within it
        self._scopes = []  # names of what is shared that is being built, with that count
        self._n_streams = 0
        self._section, self._n_sections = -1, 0  # of what is being built, and of all so far
        self.random_state = None  # from which connections are drawn

    @property
    def n_parameters(self):
        """Length of the flat vector of parameters."""
        return self.weights[-1].offset + self.weights[-1].size if self.weights else 0

    @property
    def n_state(self):
        """Length of the flat vector of layers' state."""
        return self.states[-1].offset + self.states[-1].n if self.states else 0

    def initial_state(self, dtype):
        """What the layers' state begins with, a flat array."""
        flat = np.empty(self.n_state, dtype)
        for state, view in zip(self.states, self.state_views(flat).values(), strict=True):
            view[:] = state.initial
        return flat

    def state_views(self, flat):
        """The states of layers by their names, as views of a flat array."""
        return {state.name: flat[state.offset : state.offset + state.n] for state in self.states}

    def without_values(self):
        """Another graph with the same weights and states, for other values and ops."""
        return Graph(self.n_inputs, weights=self.weights, places=self.places, shared=self.shared, states=self.states)

    @property
    def standardizing(self):
        """Ops that normalise X by what is learnt from it once."""
        return [op for op in self.forward if op.kind == "batch_norm" and op.momentum == 0]

    @property
    def binning(self):
        """Ops that cut columns of X into bins, whose bounds are learnt from it once."""
        return [op for op in self.forward if op.kind == "bins"]

    def columns_of_inputs(self, h):
        """For each column of a value the column of X that it is, an array; -1 where it is anything else."""
        value = self.values[h]
        if h == 0:
            return np.arange(value.n)
        columns = np.full(value.n, -1)
        if value.unit == "identity" and not value.dropout:
            for op in self.forward:
                if op.output == h and op.kind in ("move", "add"):
                    of = self.columns_of_inputs(op.input)[op.source : op.source + op.n]
                    columns[op.column : op.column + op.n] = of if op.kind == "move" else -1
        return columns

    @property
    def needs_dense_inputs(self):
        """Number of a value that takes X otherwise than by a product with weights, or None.

        It is the same where X is only standardised before: the core does that to its nonzeros.
        """
        readers = [op for op in self.forward if op.input == 0]
        if len(readers) == 1 and readers[0] in self.standardizing:
            z = readers[0].output
            read = [op for op in self.forward if op.input == z and op.kind != "unit"]
            if z not in self.outputs.values() and all(op.kind == "dense" for op in read):
                return None
        return next((op.output for op in readers if op.kind != "dense"), None)

    # ---- for layers -------------------------------------------------------------------------------------------------

    def value(self, name, n):
        """A new value, for ops to write to; `finish` is to follow."""
        if n > N_MAX:
            raise ValueError(f"layers[{name}] must have at most {N_MAX} units, got {n}")
        self.values.append(Value(name, n, section=self._section))
        return len(self.values) - 1

    def recomputed(self, build):
        """The value that `build()` makes; others on the way to it are not kept for the pass back, but made again."""
        outer = self._section
        if outer < 0:
            self._section = self._n_sections
            self._n_sections += 1
        h = build()
        self._section = outer
        self.values[h] = replace(self.values[h], section=outer)
        return h

    def finish(self, value, unit="identity", parameter=0.0, dropout=0.0, weights=-1):
        """Apply a unit to what ops have written; returns the value."""
        self._n_streams += 1
        self.values[value] = replace(
            self.values[value], unit=unit, parameter=parameter, dropout=dropout, stream=self._n_streams
        )
        self.forward.append(Op("unit", value, value, weights))
        return value

    @contextmanager
    def sharing(self, place, name, layer):
        """While it lasts, new weights are those that were made under this name before, in their order, if any were.

        Parameters
        ----------
        place : str
            Where the layer is now, for errors.
        name : str
        layer : layer

        Raises
        ------
        ValueError
            If another layer has this name.
        """
        there = self.shared.setdefault(name, layer)
        if there != layer:
            raise ValueError(
                f"layers[{place}] is shared under the name {name!r}, all places of which must have one layer, got "
                f"{there!r} and {layer!r}"
            )
        self._scopes.append([name, 0])
        yield
        self._scopes.pop()

    def new_weights(self, name, layer, n_in, n_out, has_bias=True, role="weight", **others):
        """Number of new weights for a layer; within `sharing`, of those that its other places have.

        `others` are further attributes of `Weights`.

        Raises
        ------
        ValueError
            If they have another shape there.
        """
        key, number = None, len(self.weights)
        if self._scopes:
            scope = self._scopes[-1]
            key, scope[1] = tuple(scope), scope[1] + 1
            number = self._shared_weights.setdefault(key, number)
        if number == len(self.weights):
            self.weights.append(Weights(layer, role, n_in, n_out, has_bias, self.n_parameters, **others))
        elif (there := self.weights[number]).n_in != n_in or there.n_out != n_out:
            raise ValueError(
                f"layers[{name}] is shared, and must have weights of the shape that it has elsewhere, "
                f"({there.n_in}, {there.n_out}), got ({n_in}, {n_out}) for {layer!r}"
            )
        return number

    def new_state(self, name, n, initial=0.0):
        """Number of a new state of `n` elements, which begins as `initial`, a number or a FrozenArray."""
        self.states.append(State(name, n, initial, self.n_state))
        return len(self.states) - 1

    def dense(self, name, h, layer, n_out, has_bias=True, role="weight", **others):
        """Value of ``H W + b``, or for "centre" of radial basis functions, with new weights, and their number.

        `finish` is to follow.
        """
        number = self.new_weights(name, layer, self.values[h].n, n_out, has_bias, role, **others)
        z = self.value(name, n_out)
        bias = number if has_bias else -1
        self.forward.append(Op("rbf" if role == "centre" else "dense", h, z, number, bias))
        self.places.append((number, bias, False))
        return z, number

    def sparse(self, name, h, layer, fan_in, n_out, columns=None, has_bias=True, **others):
        """Value of ``z_j = b_j + sum_k W_kj h_(columns_kj)`` with new weights, and their number; `finish` is to follow.

        Columns that are not given are drawn, where the graph has something to draw from.
        """
        n_in, before = self.values[h].n, len(self.weights)
        fans = fan_in, max(fan_in * n_out / n_in, 1.0)
        number = self.new_weights(name, layer, fan_in, n_out, has_bias, fans=fans, **others)
        if number == before:
            if columns is None and self.random_state is not None:
                columns = FrozenArray(draw_columns(self.random_state, n_in, fan_in, n_out))
            self.weights[number] = replace(self.weights[number], connections=Connections(n_in, columns))
        elif self.weights[number].connections.n_in != n_in:
            raise ValueError(
                f"layers[{name}] is shared, and must have as many inputs as elsewhere, "
                f"{self.weights[number].connections.n_in}, got {n_in} for {layer!r}"
            )
        z = self.value(name, n_out)
        bias = number if has_bias else -1
        self.forward.append(Op("sparse", h, z, number, bias))
        self.places.append((number, bias, False))
        return z, number

    def bins(self, name, h, layer_name, n_bins):
        """Value of how much of each bin of a column of H lies below it; `finish` is to follow.

        Their bounds, ``n_bins + 1`` for each column, are a layer's state, as "n_samples" is. Until they are learnt,
        they cut what is from 0 to 1 into equal parts.
        """
        n = self.values[h].n
        parts = FrozenArray(np.tile(np.linspace(0, 1, n_bins + 1), n))
        state = self.new_state(f"{layer_name}.bounds", n * (n_bins + 1), parts)
        self.new_state(f"{layer_name}.n_samples", 1)
        z = self.value(name, n * n_bins)
        self.forward.append(Op("bins", h, z, state=state))
        return z

    def transposed(self, name, h, layer, number):
        """Value of ``H W^T + b`` with weights that are there and a bias of its own; `finish` is to follow."""
        w = self.weights[number]
        if self.values[h].n != w.n_out:
            raise ValueError(
                f"layers[{name}] must take the {w.n_out} units of the layer that it is the transposed of, got "
                f"{self.values[h].n} for {layer!r}"
            )
        bias = self.new_weights(name, layer, 0, w.n_in, role="bias")
        z = self.value(name, w.n_in)
        self.forward.append(Op("transposed", h, z, number, bias))
        self.places.append((number, bias, True))
        return z

    def scale(self, name, h, layer, has_bias=True, start=1.0, kind="scale"):
        """Value of ``H * w + b``, or as "prelu" has it, with new weights, w starting from `start`.

        `finish` is to follow.
        """
        n = self.values[h].n
        number = self.new_weights(name, layer, 1, n, has_bias, "scale", start=start)
        z = self.value(name, n)
        bias = number if has_bias else -1
        self.forward.append(Op(kind, h, z, number, bias))
        self.places.append((number, bias, False))
        return z

    def batch_norm(self, name, h, layer_name, epsilon, momentum):
        """Value of columns normalised by statistics of their own, a layer's state; `finish` is to follow.

        Where momentum is not 0, training takes those of each batch, and the state follows them with it.
        """
        n = self.values[h].n
        state = self.new_state(f"{layer_name}.mean", n)
        self.new_state(f"{layer_name}.variance", n, 1.0)
        z = self.value(name, n)
        self.forward.append(Op("batch_norm", h, z, state=state, epsilon=epsilon, momentum=momentum))
        return z

    def standardize(self, name):
        """Value of X normalised by a layer's state, which is "n_samples" too; `finish` is to follow."""
        z = self.batch_norm(name, 0, name, epsilon=0.0, momentum=0.0)
        self.new_state(f"{name}.n_samples", 1)
        return z

    def group_norm(self, name, h, n_groups, epsilon):
        """Value of rows normalised by themselves, in groups of columns; `finish` is to follow."""
        z = self.value(name, self.values[h].n)
        self.forward.append(Op("group_norm", h, z, epsilon=epsilon, n_groups=n_groups))
        return z

    def weight_norm(self, name, h, layer, of):
        """Value of a product with weights `of`, divided by the norms of their columns, times new scales w, plus b.

        `finish` is to follow.
        """
        z = self.value(name, self.values[h].n)
        number = self.new_weights(name, layer, 1, self.values[h].n, role="scale")
        self.forward.append(Op("weight_norm", h, z, number, number, of=of))
        self.places.append((number, number, False))
        return z

    def spectral_norm(self, name, h, layer, of, n_iterations):
        """Value of a product with weights `of`, divided by their largest singular value, plus a new b.

        Its vectors u and v are a layer's state. `finish` is to follow.
        """
        z, V = self.value(name, self.values[h].n), self.weights[of]
        bias = self.new_weights(name, layer, 0, V.n_out, role="bias")
        u = self.new_state(f"{name}.u", V.n_in, V.n_in**-0.5)
        self.new_state(f"{name}.v", V.n_out, V.n_out**-0.5)
        self.forward.append(Op("weight_norm", h, z, bias=bias, state=u, of=of, n_iterations=n_iterations))
        self.places[-1] = of, bias, False
        return z

    def embed(self, name, h, z, layer, n_rows, dim, source, column):
        """Write rows of a new table ``(n_rows, dim)``, which a column of X names, to columns of a value."""
        number = self.new_weights(name, layer, n_rows, dim, has_bias=False)
        self.forward.append(Op("embed", h, z, number, column=column, source=source, n=1))
        self.places.append((number, -1, False))

    def move(self, h, z, column=0, add=False, source=0, n=None):
        """Write columns of a value, all of them or n from `source` on, to columns of another, or add them."""
        n = self.values[h].n - source if n is None else n
        self.forward.append(Op("add" if add else "move", h, z, column=column, source=source, n=n))

    def shared_weights(self, name):
        """Number of the first weights of what is shared under this name; None if there are none yet."""
        return self._shared_weights.get((name, 0))


def draw_columns(random_state, n_in, fan_in, n_out):
    """Columns (fan_in, n_out) from 0 to ``n_in - 1``, in ascending order and different in each column of the result.

    Parts of random permutations, one after the other, so that all are drawn about as often; of very many columns, where
    that would take more memory than the result, independent draws.
    """
    if n_in > 4 * fan_in * n_out:
        columns = random_state.randint(n_in, size=(fan_in, n_out))
        while True:
            columns.sort(axis=0)
            again = columns[1:] == columns[:-1]
            if not again.any():
                return columns.astype(np.int32)
            columns[1:][again] = random_state.randint(n_in, size=again.sum())
    each = n_in // fan_in
    parts = [random_state.permutation(n_in)[: each * fan_in].reshape(each, fan_in) for _ in range(-(-n_out // each))]
    return np.sort(np.concatenate(parts)[:n_out].T, axis=0).astype(np.int32)
