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
from PIL import Image

from sam3_edge.buckets import find_buckets, joined, part_feeds, parts
from sam3_edge.bundle import Bundle
from sam3_edge.errors import BackendError, CheckError, UsageError
from sam3_edge.manifest import GraphFile
from sam3_edge.picture import to_pixels
from sam3_edge.session import HostValues, Index, Value, check_feeds
from sam3_edge.spec import GraphSpec, graph_specs

UNITS = {"all": "ALL", "cpu": "CPU_ONLY", "cpu+gpu": "CPU_AND_GPU", "cpu+ane": "CPU_AND_NE"}
DEVICES = tuple(UNITS)


@dataclass(frozen=True, eq=False)
class Model:
    """A loaded function. `pictures` are its inputs that take a pixel buffer."""

    loaded: Any
    pictures: frozenset[str]

    def predict(self, graph: str, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """One run. Raises `BackendError` with what Core ML says."""
        fed = {name: as_picture(x) if name in self.pictures else x for name, x in feeds.items()}
        return predict(self.loaded, graph, fed)


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
    """The models of a graph, for one object and for more, are loaded when it is first run.

    `load_seconds` says how long that took: Core ML compiles a package for the machine while it loads it,
    which for a large one can take minutes. A call runs in the smallest model that takes all its objects.
    """

    def __init__(self, bundle: Bundle, *, device: str = "all") -> None:
        self.bundle, self.device = bundle, device
        self.specs = graph_specs(bundle.config)
        self.loaded: dict[str, dict[int, Model]] = {}
        self.load_seconds: dict[str, float] = {}

    def models(self, graph: str) -> dict[int, Model]:
        """The models of one graph by how many objects each is for, loaded on first use and checked."""
        if graph not in self.specs:
            raise UsageError(f"there is no graph {graph!r}: choose from {', '.join(self.specs)}")
        if graph not in self.loaded:
            self.bundle.graph(graph)  # hashes all files of the graph
            start = time.perf_counter()
            buckets = find_buckets(self.bundle, graph, self.functions)
            models = {count: self.model(graph, file) for count, file in buckets.items()}
            self.load_seconds[graph] = time.perf_counter() - start
            self.loaded[graph] = models
        return self.loaded[graph]

    def functions(self, path: str) -> list[str]:
        """The names of a package's functions."""
        described = runtime().utils.load_spec(str(self.bundle.path / path)).description
        return [function.name for function in described.functions]

    def model(self, graph: str, file: GraphFile) -> Model:
        """One function, loaded."""
        path = self.bundle.path / file.path
        model = load_model(path, self.device, file.function)
        described = description(model, file.function)
        check_names(self.specs[graph], described, path=path)
        pictures = (each.name for each in described.input if each.type.WhichOneof("Type") == "imageType")
        return Model(model, frozenset(pictures))

    def run(self, graph: str, feeds: Mapping[str, Value]) -> dict[str, Value]:
        models, spec = self.models(graph), self.specs[graph]
        check_feeds(spec, feeds)
        arrays = {name: value.array if isinstance(value, Held) else value for name, value in feeds.items()}
        objects = next((len(arrays[t.name]) for t in spec.inputs if t.per_object), 1)
        cut = parts(objects, tuple(models))
        answers = [models[part.count].predict(graph, part_feeds(spec, arrays, part)) for part in cut]
        return {name: Held(array) for name, array in joined(spec, answers, cut).items()}

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


def predict(model: Any, graph: str, feeds: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """One run. Raises `BackendError` with what Core ML says."""
    try:
        answers: dict[str, NDArray[Any]] = model.predict(dict(feeds))
    except (RuntimeError, ValueError) as error:
        raise BackendError(f"Core ML failed in graph {graph}: {first_line(error)}") from error
    return answers


def as_picture(image: NDArray[np.float32]) -> Image.Image:
    """What coremltools hands to Core ML as a pixel buffer, from the backbone's input [1, 3, H, H]."""
    return Image.fromarray(to_pixels(image[0]).astype(np.uint8).transpose(1, 2, 0))


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def description(model: Any, function: str | None) -> Any:
    """What a package says of one of its functions."""
    whole = model.get_spec().description
    name = function or whole.defaultFunctionName
    return next((each for each in whole.functions if each.name == name), whole)


def check_names(spec: GraphSpec, description: Any, *, path: Path) -> None:
    """Raises `CheckError` for a package whose inputs or outputs are not those of the spec."""
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
