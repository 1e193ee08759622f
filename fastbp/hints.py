"""What hints on the public surface name: the kinds of arrays that come in, and those that go out."""

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray


class SparseMatrix(Protocol):
    """A sparse matrix or array of SciPy."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""

    def tocsr(self, copy: bool = False) -> Any:
        """The same in the format that is read in place."""


Matrix: TypeAlias = ArrayLike | SparseMatrix
Targets: TypeAlias = ArrayLike | Mapping[str, ArrayLike]  # a dict of several heads
Floats: TypeAlias = NDArray[np.floating[Any]]
Bools: TypeAlias = NDArray[np.bool_]
Integers: TypeAlias = NDArray[np.integer[Any]]
# An array, which checkers take it for; of several heads a dict of arrays by their names.
Outputs: TypeAlias = NDArray[Any] | Any
RandomState: TypeAlias = int | np.random.RandomState | np.random.Generator | None
