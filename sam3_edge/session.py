"""Sessions: how the device package runs a bundle's graphs, whatever the backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sam3_edge import registry
from sam3_edge.errors import UsageError
from sam3_edge.spec import GraphSpec, TensorSpec

if TYPE_CHECKING:
    from sam3_edge.bundle import Bundle

# A tensor that a session gave out: opaque, perhaps on a device. An ndarray is a value of every session.
Value = Any
Index = tuple["int | slice", ...]


class Session(Protocol):
    """Runs graphs. A value that one graph gave out may be fed to the next without leaving the device."""

    def run(self, graph: str, feeds: Mapping[str, Value]) -> dict[str, Value]:
        """Run one graph on all its inputs (`sam3_edge.spec.graph_specs`); all its outputs, by name."""
        ...

    def fetch(self, value: Value) -> NDArray[Any]:
        """The value as an array of the host. Waits until the device is done with it."""
        ...

    def alloc(self, spec: TensorSpec) -> Value:
        """An arena of zeros: a value of a fixed shape, to be written into and fed in parts."""
        ...

    def write(self, value: Value, index: Index, source: Value) -> None:
        """`value[index] = source`, in place, of an arena. The source has the shape of what it replaces."""
        ...

    def rows(self, value: Value, start: int, stop: int) -> Value:
        """Rows start to stop of an arena, to be fed to a graph: a view, not a copy."""
        ...

    def close(self) -> None:
        """Free what the session holds. Its values are void afterwards."""
        ...


class HostValues:
    """The values of a session that keeps them on the host: arrays."""

    def fetch(self, value: Value) -> NDArray[Any]:
        return np.asarray(value)

    def alloc(self, spec: TensorSpec) -> Value:
        return np.zeros(spec.sized(), spec.dtype)

    def write(self, value: Value, index: Index, source: Value) -> None:
        place = value[index]
        if place.shape != np.shape(source):
            # numpy would repeat a source that is too small.
            raise UsageError(
                f"write of {list(np.shape(source))} into {list(place.shape)}: want the same shape"
            )
        place[...] = source

    def rows(self, value: Value, start: int, stop: int) -> Value:
        return value[start:stop]


def open_session(
    bundle: Bundle, *, threads: int | None = None, device: str | None = None, emulate: bool = False
) -> Session:
    """The runtime of the bundle's target, ready to run. `threads`, `device`: None for the backend's choice.

    `emulate`: what `export` measures such a bundle with instead, which runs on any machine and needs torch.
    Raises `UsageError` for a target that this package has no runtime for, or a device that the runtime does
    not have; `BackendError` when the backend is missing or does not work here.
    """
    if emulate:
        measured: Session = registry.load("target", bundle.target).open_session(bundle, threads=threads)
        return measured
    runtime = registry.load("runtime", bundle.target)
    devices: Sequence[str] = getattr(runtime, "DEVICES", ())
    if device is not None and device not in devices:
        choice = f"choose from {', '.join(devices)}" if devices else "leave --device out"
        raise UsageError(f"target {bundle.target} has no device {device!r}: {choice}")
    chosen = {} if device is None else {"device": device}
    session: Session = runtime.open(bundle, threads=threads, **chosen)
    return session


def check_feeds(spec: GraphSpec, feeds: Mapping[str, Value]) -> None:
    """Names, shapes and dtypes of what goes into a graph. Raises `UsageError` for the first that is wrong."""
    wanted = {tensor.name for tensor in spec.inputs}
    if missing := sorted(wanted - feeds.keys()):
        raise UsageError(f"graph {spec.name}: input {missing[0]} is not fed")
    if extra := sorted(feeds.keys() - wanted):
        raise UsageError(
            f"graph {spec.name} has no input {extra[0]}: its inputs are {', '.join(sorted(wanted))}"
        )
    rows = (feeds[t.name] for t in spec.inputs if t.per_object)
    objects = next((len(x) for x in rows if isinstance(x, np.ndarray) and x.ndim and len(x)), 1)
    for tensor in spec.inputs:
        check_tensor(spec.name, tensor, feeds[tensor.name], objects)


def check_tensor(graph: str, tensor: TensorSpec, value: Value, objects: int) -> None:
    """One input. A value on a device came out of a graph, whose outputs its backend has checked."""
    shape = tensor.sized(objects)
    if isinstance(value, np.ndarray) and (value.shape != shape or value.dtype != tensor.dtype):
        raise UsageError(
            f"graph {graph}, input {tensor.name}: want {tensor.dtype} {list(shape)}, "
            f"got {value.dtype} {list(value.shape)}"
        )
