"""A call in a process of its own: what it takes of memory is its own, and is given back."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from sam3_edge.errors import ResourceError

Answer = TypeVar("Answer")


def alone(function: Callable[..., Answer], *arguments: object) -> Answer:
    """Call a function in a process of its own. Raises `ResourceError` if the system kills it."""
    context = multiprocessing.get_context("spawn")  # a fork would start with this process's memory
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(function, *arguments).result()
        except BrokenProcessPool as error:
            raise ResourceError(f"{function.__name__} was killed: free some memory") from error
