"""Core ML on macOS: runs the packages of a `coreml` bundle on the processors that are asked for.

Elsewhere there is no Core ML: every entry raises `BackendError`. Python gets at it through coremltools; an
app in Swift opens the same packages (`examples/ios`).
"""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam3_edge.bundle import Bundle
from sam3_edge.errors import BackendError, CheckError, UsageError
from sam3_edge.session import HostValues, Index, Value, check_feeds
from sam3_edge.spec import GraphSpec, graph_specs

UNITS = {"all": "ALL", "cpu": "CPU_ONLY", "cpu+gpu": "CPU_AND_GPU", "cpu+ane": "CPU_AND_NE"}
DEVICES = tuple(UNITS)


@dataclass(frozen=True, eq=False)
class Held:
    """A value as Core ML gave it, mostly in half precision: it goes into the next graph without a copy."""

    array: NDArray[Any]


def runtime() -> Any:
    """The coremltools module. Raises `BackendError` where there is no Core ML, or with what installs it."""
    if sys.platform != "darwin":
        raise BackendError(
            f"Core ML runs on macOS and iOS, and this machine has {platform.system()}: copy the bundle to a "
            "Mac, or let `eval --emulate` evaluate its packages here"
        )
    try:
        import coremltools
    except ImportError as error:
        raise BackendError(
            f"coremltools does not import ({error}): pip install 'sam3-edge[coreml]'"
        ) from error
    return coremltools


class CoremlSession(HostValues):
    """One model per graph, loaded when the graph is first run. `load_seconds` says how long that took.

    Core ML compiles a package for the machine while it loads it, which for a large one can take minutes.
    """

    def __init__(self, bundle: Bundle, *, device: str = "all") -> None:
        self.bundle, self.device = bundle, device
        self.specs = graph_specs(bundle.config)
        self.loaded: dict[str, Any] = {}
        self.load_seconds: dict[str, float] = {}

    def model(self, graph: str) -> Any:
        """The model of one graph, loaded on first use and checked against the spec."""
        if graph not in self.specs:
            raise UsageError(f"there is no graph {graph!r}: choose from {', '.join(self.specs)}")
        if graph not in self.loaded:
            path = self.bundle.graph(graph)
            start = time.perf_counter()
            self.loaded[graph] = load_model(path, self.device, self.bundle.graphs[graph].function)
            self.load_seconds[graph] = time.perf_counter() - start
            check_names(self.specs[graph], self.loaded[graph], path=path)
        return self.loaded[graph]

    def run(self, graph: str, feeds: Mapping[str, Value]) -> dict[str, Value]:
        model = self.model(graph)
        spec = self.specs[graph]
        check_feeds(spec, feeds)
        arrays = {name: value.array if isinstance(value, Held) else value for name, value in feeds.items()}
        objects = next((len(arrays[t.name]) for t in spec.inputs if t.per_object), 1)
        answers = [predict(model, graph, one_object(spec, arrays, row)) for row in range(objects)]
        return {t.name: Held(joined([a[t.name] for a in answers])) for t in spec.outputs}

    def fetch(self, value: Value) -> NDArray[Any]:
        array = np.asarray(value.array if isinstance(value, Held) else value)
        return array.astype(np.float32) if array.dtype == np.float16 else array

    def write(self, value: Value, index: Index, source: Value) -> None:
        super().write(value, index, source.array if isinstance(source, Held) else source)

    def close(self) -> None:
        self.loaded.clear()


def load_model(path: Path, device: str, function: str | None) -> Any:
    """A package, compiled for this machine. Raises `BackendError` for one that Core ML does not take."""
    tools = runtime()
    try:
        chosen = getattr(tools.ComputeUnit, UNITS[device])
        return tools.models.MLModel(str(path), compute_units=chosen, function_name=function)
    except (RuntimeError, ValueError) as error:
        raise BackendError(f"Core ML does not load {path} on {device}: {first_line(error)}") from error


def predict(model: Any, graph: str, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """One run. Raises `BackendError` with what Core ML says."""
    try:
        answers: dict[str, NDArray[Any]] = model.predict(dict(feeds))
    except (RuntimeError, ValueError) as error:
        raise BackendError(f"Core ML failed in graph {graph}: {first_line(error)}") from error
    return answers


def one_object(spec: GraphSpec, arrays: Mapping[str, NDArray[Any]], row: int) -> dict[str, NDArray[Any]]:
    """The feeds of one object: the packages have no axis of any length."""
    return {t.name: arrays[t.name][row : row + 1] if t.per_object else arrays[t.name] for t in spec.inputs}


def joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """The answers for all objects; without a copy for one."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def check_names(spec: GraphSpec, model: Any, *, path: Path) -> None:
    """Raises `CheckError` for a package whose inputs or outputs are not those of the spec."""
    description = model.get_spec().description
    if functions := list(description.functions):
        description = next(f for f in functions if f.name == description.defaultFunctionName)
    for kind, wanted, found in (
        ("inputs", spec.inputs, description.input),
        ("outputs", spec.outputs, description.output),
    ):
        want, have = [tensor.name for tensor in wanted], [feature.name for feature in found]
        if sorted(want) != sorted(have):
            raise CheckError(f"{path}: {kind} are {', '.join(have)}, want {', '.join(want)}: export it again")


def open(bundle: Bundle, *, device: str = "all", threads: int | None = None) -> CoremlSession:
    """A session on `bundle`. `device`: `all`, `cpu`, `cpu+gpu` or `cpu+ane`, the Neural Engine.

    Core ML decides itself on `threads`. Raises `BackendError` elsewhere than on macOS.
    """
    runtime()
    if device not in UNITS:
        raise UsageError(f"there is no device {device!r}: choose from {', '.join(UNITS)}")
    if threads is not None and threads < 1:
        raise UsageError(f"threads {threads}: want at least 1")
    return CoremlSession(bundle, device=device)


def doubled(x: Any) -> Any:
    """A program of one node."""
    from coremltools.converters.mil import Builder

    return Builder.add(x=x, y=x, name="y")


def selfcheck() -> str:
    """Run one real node and return the version text. Raises `BackendError` when that does not work."""
    tools = runtime()
    from coremltools.converters.mil import Builder

    adder = Builder.program(input_specs=[Builder.TensorSpec(shape=(2,))])(doubled)
    x = np.array([1.5, -2.0], np.float32)
    exact = tools.precision.FLOAT32
    model = tools.convert(adder, convert_to="mlprogram", compute_precision=exact)
    y = predict(model, "self-check", {"x": x})["y"]
    if not np.array_equal(y, x + x):
        raise BackendError(f"Core ML: {x} + {x} came out as {y}: update macOS, or report this")
    return f"Core ML of macOS {platform.mac_ver()[0]}, coremltools {tools.__version__}"
