"""Functions compiled to machine code by numba, cached on disk if possible."""

from collections.abc import Callable
from typing import Any

import numba

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


def compiled(function: Callable) -> Callable:
    """Compile a function of arrays and numbers at its first call, to run without the GIL.

    The machine code is cached beside the module or in the user's cache. If neither is writable,
    each process compiles the function again.
    """
    try:
        return numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # numba found no folder to write its cache to
        return numba.njit(**_OPTIONS)(function)


def inlined(function: Callable) -> Callable:
    """Compile a small function into its callers, which is twice as fast as a call in a loop."""
    return numba.njit(inline="always", error_model="numpy")(function)
