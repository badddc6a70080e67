"""Types of NumPy arrays that the rooms of `vitm.data` share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]  # float32 throughout; NumPy widens here and there
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
