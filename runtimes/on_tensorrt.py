"""TensorRT: runs a `tensorrt` bundle on engines that were built and judged on this machine.

Values stay on the device from graph to graph, in arrays on one stream. Nothing here has run on a GPU yet
(docs/jetson.md); what can be checked without one is: every call against the library's own signatures, the
ladder, the cache, and the build with TensorRT for RTX.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam3_edge import console
from sam3_edge.bundle import Bundle
from sam3_edge.engines.cache import Built, EngineCache, Machine
from sam3_edge.engines.fit import check_fits
from sam3_edge.engines.ladder import climb
from sam3_edge.engines.rungs import OBJECTS_AT_ONCE
from sam3_edge.engines.timing import Timings
from sam3_edge.errors import BackendError, UsageError
from sam3_edge.session import Index, Value, check_feeds
from sam3_edge.spec import GraphSpec, TensorSpec

from .device_memory import DeviceArray, Gpu, Stream, checked
from .tensorrt_engine import Engine, Say, build, library

MOST = OBJECTS_AT_ONCE[-1]


class TensorrtSession:
    """One engine per graph, all on one stream. Values are arrays on the device."""

    def __init__(self, bundle: Bundle, engines: Mapping[str, bytes], *, integrated: bool) -> None:
        self.specs = bundle.specs
        self.stream = Stream(integrated=integrated)
        self.engines = {name: Engine(name, data, self.stream) for name, data in engines.items()}

    def run(self, graph: str, feeds: Mapping[str, Value]) -> dict[str, Value]:
        if graph not in self.specs:
            raise UsageError(f"there is no graph {graph!r}: choose from {', '.join(self.specs)}")
        spec = self.specs[graph]
        check_feeds(spec, feeds)
        inputs = {t.name: self.on_device(feeds[t.name]) for t in spec.inputs}
        objects = next((len(inputs[t.name]) for t in spec.inputs if t.per_object), 1)
        outputs = {t.name: self.stream.empty(t.sized(objects), t.dtype) for t in spec.outputs}
        for start in range(0, objects, MOST):
            rows = slice(start, min(start + MOST, objects))
            self.run_rows(spec, rows, inputs, outputs)
        return dict(outputs)

    def run_rows(
        self, spec: GraphSpec, rows: slice, inputs: dict[str, DeviceArray], outputs: dict[str, DeviceArray]
    ) -> None:
        """Run as many objects as an engine takes at once."""
        engine = self.engines[spec.name]

        def some(tensor: TensorSpec, array: DeviceArray) -> DeviceArray:
            return array.part((rows,)) if tensor.per_object else array

        fed = {t.name: some(t, inputs[t.name]) for t in spec.inputs}
        made = {t.name: some(t, outputs[t.name]) for t in spec.outputs}
        # What a rung adds to the outputs is written and forgotten.
        extra = {n: self.stream.empty((), engine.dtypes[n]) for n in engine.outputs if n not in made}
        engine.run(fed, {**made, **extra})

    def on_device(self, value: Value) -> DeviceArray:
        """The value as an array on the device, copied there if it comes from the host."""
        if isinstance(value, DeviceArray):
            return value
        array = self.stream.empty(np.shape(value), value.dtype)
        self.stream.put(array, value)
        return array

    def fetch(self, value: Value) -> NDArray[Any]:
        return self.stream.get(value) if isinstance(value, DeviceArray) else np.asarray(value)

    def alloc(self, spec: TensorSpec) -> Value:
        return self.stream.zeros(spec.sized(), spec.dtype)

    def write(self, value: Value, index: Index, source: Value) -> None:
        place = value.part(index)
        if place.shape != tuple(np.shape(source) if isinstance(source, np.ndarray) else source.shape):
            raise UsageError(f"write of {list(source.shape)} into {list(place.shape)}: want the same shape")
        self.stream.put(place, source)

    def rows(self, value: Value, start: int, stop: int) -> Value:
        return value.part((slice(start, stop),))

    def close(self) -> None:
        for engine in self.engines.values():
            engine.close()
        self.engines.clear()
        self.stream.close()


class DeviceBuilder:
    """Builds engines here. What was timed for one engine is not timed again for the next, nor next time."""

    def __init__(self, gpu: Gpu, timings: Timings) -> None:
        self.gpu, self.timings = gpu, timings

    def build(self, path: Path, say: Say) -> bytes:
        engine, timing = build(path, timing=self.timings.read(), say=say)
        self.timings.write(timing)
        return engine

    def open(self, bundle: Bundle, engines: Mapping[str, bytes]) -> TensorrtSession:
        return TensorrtSession(bundle, engines, integrated=self.gpu.integrated)


def machine(gpu: Gpu) -> Machine:
    """What engines that are built here are good for."""
    return Machine(str(library().__version__), gpu.runtime, gpu.driver, f"{gpu.name}, {gpu.capability}")


def make_engines(bundle: Bundle, *, overwrite: bool = False, say: Say = lambda text: None) -> Built:
    """The judged engines of a bundle, from the cache, or built now, which takes minutes.

    Raises `ResourceError` if they will not fit, `CheckError` if no rung of the ladder answers rightly.
    """
    library()
    gpu, cache = Gpu.current(), EngineCache()
    if overwrite:
        cache.forget(bundle.hash)
    if found := cache.load(bundle.hash, machine(gpu)):
        return found
    free, _ = checked("cudaMemGetInfo")
    check_fits(bundle, free)
    built = climb(bundle, DeviceBuilder(gpu, Timings(cache, machine(gpu))), say)
    cache.save(bundle.hash, machine(gpu), built)
    return built


def open(bundle: Bundle, *, threads: int | None = None) -> TensorrtSession:
    """A session on `bundle`; at first its engines are built. `threads` is for backends of the processor.

    Raises `BackendError` when TensorRT, NVIDIA's bindings or a GPU is missing.
    """
    with console.status("build") as say:
        built = make_engines(bundle, say=say)
    return TensorrtSession(bundle, built.engines, integrated=Gpu.current().integrated)


def selfcheck() -> str:
    """Copy numbers to the device and back, and return the version text. Raises `BackendError` otherwise."""
    version, gpu = library().__version__, Gpu.current()
    stream = Stream(integrated=gpu.integrated)
    sent = np.arange(8, dtype=np.float32)
    array = stream.empty(sent.shape, sent.dtype)
    stream.put(array, sent)
    if not np.array_equal(stream.get(array), sent):
        raise BackendError("numbers came back from the GPU changed: check the driver and the memory")
    stream.close()
    return f"TensorRT {version}, CUDA {gpu.runtime}, {gpu.name}"
