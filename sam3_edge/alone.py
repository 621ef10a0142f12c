"""Work in a process of its own: what it takes of memory is its own, and is given back."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.connection import Connection
from typing import Any, TypeAlias, TypeVar

from sam3_edge.errors import EdgeError, ResourceError

GRACE = 5.0  # seconds in which a process may end by itself

Answer = TypeVar("Answer")
Ask: TypeAlias = "Callable[[Any], Any]"
Begun: TypeAlias = "Callable[..., AbstractContextManager[Ask]]"


def alone(function: Callable[..., Answer], *arguments: object) -> Answer:
    """Call a function in a process of its own. Raises `ResourceError` if the system kills it."""
    context = multiprocessing.get_context("spawn")  # a fork would start with this process's memory
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(function, *arguments).result()
        except BrokenProcessPool as error:
            raise ResourceError(f"{function.__name__} was killed: free some memory") from error


@contextmanager
def answering(name: str, begun: Begun, *arguments: object) -> Iterator[Ask]:
    """A process that has begun and answers one request after the other; it ends with the block.

    `begun(*arguments)`, called there, gives the function that answers. What that raises of ours is raised
    here, and `ResourceError` if the process is no more.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, begun, *arguments), daemon=True)
    process.start()
    theirs.close()

    def ask(request: Any) -> Any:
        ours.send(request)
        return hear(name, ours)

    try:
        hear(name, ours)
        yield ask
    finally:
        ours.close()  # it hears that nobody asks any more, and leaves what it holds in order
        process.join(GRACE)
        process.terminate()
        process.join()


def hear(name: str, pipe: Connection) -> Any:
    """What the process says next."""
    try:
        said = pipe.recv()
    except (EOFError, ConnectionResetError):
        raise ResourceError(f"{name}: its process ended: see above, or free some memory") from None
    if isinstance(said, EdgeError):
        raise said
    return said


def serve(pipe: Connection, begun: Begun, *arguments: object) -> None:
    """The process's whole life: get ready, say so, and answer until nobody asks."""
    try:
        with begun(*arguments) as answer:
            pipe.send(None)
            while True:
                pipe.send(answer(pipe.recv()))
    except (EOFError, BrokenPipeError):
        return
    except EdgeError as error:
        pipe.send(error)  # a bug is told by the process itself
