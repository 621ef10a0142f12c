"""TensorRT, 10 and 11: building an engine of a typed graph, and running it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from sam3_edge.engines import network
from sam3_edge.engines.network import keeping_logger
from sam3_edge.errors import BackendError

from .device_memory import DeviceArray, Shape, Stream, bindings, checked

Say = Callable[[str], None]
PAUSE = 5.0  # seconds between two words on a build's progress: it has thousands of steps
DTYPES = {"FLOAT": "float32", "HALF": "float16", "INT32": "int32"}  # what stands at the edge of a graph


def library() -> Any:
    """The tensorrt module. Raises `BackendError` with the way to get it."""
    try:
        import tensorrt
    except ImportError as error:
        raise BackendError(
            f"TensorRT does not import ({error}): on Jetson it comes with JetPack, use a virtual environment "
            "with --system-site-packages (docs/jetson.md); elsewhere pip install 'sam3-edge[tensorrt]'"
        ) from error
    return tensorrt


@cache
def logger() -> Any:
    """The logger of this process."""
    return keeping_logger(library())


def last_error() -> str:
    """TensorRT's own last words."""
    return str((logger().errors or ["it gave no reason"])[-1])


def monitor(library: Any, name: str, say: Say) -> Any:
    """Tells how far a build is, in the library's own phases."""

    class Told(library.IProgressMonitor):  # type: ignore[misc] # the library has no types
        def __init__(self) -> None:
            super().__init__()
            self.steps: dict[str, int] = {}
            self.told = time.monotonic()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps
            if not parent_phase:
                say(f"building {name}: {phase_name}")

        def step_complete(self, phase_name: str, step: int) -> bool:
            if time.monotonic() - self.told >= PAUSE:
                self.told = time.monotonic()
                say(f"building {name}: {phase_name}, {step + 1} of {self.steps.get(phase_name, step + 1)}")
            return True

        def phase_finish(self, phase_name: str) -> None:
            self.steps.pop(phase_name, None)

    return Told()


def build(path: Path, *, timing: bytes, say: Say) -> tuple[bytes, bytes]:
    """The engine of the graph at `path`, and the timing cache that makes the next build faster.

    Raises `CheckError` with TensorRT's own words for a graph that it refuses.
    """
    parsed = network.parse(library(), logger(), path)
    told = monitor(library(), path.parent.name, say)  # must live as long as the builder uses it
    parsed.config.progress_monitor = told
    timings = parsed.config.create_timing_cache(timing)  # must live as long, too
    if not parsed.config.set_timing_cache(timings, ignore_mismatch=False):
        timings = parsed.config.create_timing_cache(b"")
        parsed.config.set_timing_cache(timings, ignore_mismatch=False)
    engine = network.build(library(), parsed, name=str(path), errors=logger().errors)
    return bytes(engine), bytes(timings.serialize())


class Engine:
    """One graph on the device. A graph of fixed shapes is captured once and replayed as a CUDA graph."""

    def __init__(self, name: str, data: bytes, stream: Stream) -> None:
        trt = library()
        self.name, self.stream = name, stream
        self.runtime = trt.Runtime(logger())
        self.engine = self.runtime.deserialize_cuda_engine(data)
        if self.engine is None:
            raise BackendError(
                f"TensorRT {trt.__version__} does not load the engine of {name}: {last_error()}"
            )
        self.context = self.engine.create_execution_context()
        if self.context is None:
            raise BackendError(f"TensorRT has no memory to run {name}: {last_error()}")
        names = [self.engine.get_tensor_name(i) for i in range(self.engine.num_io_tensors)]
        inputs = trt.TensorIOMode.INPUT
        self.inputs = [n for n in names if self.engine.get_tensor_mode(n) == inputs]
        self.outputs = [n for n in names if n not in self.inputs]
        self.fixed = all(-1 not in self.shape(n) for n in names)
        self.dtypes = {n: np.dtype(DTYPES[self.engine.get_tensor_dtype(n).name]) for n in names}
        self.held: dict[str, DeviceArray] = {}
        self.replayed: Any = None

    def shape(self, name: str) -> Shape:
        """The shape of an input or output, -1 for a length that each run sets."""
        return tuple(self.engine.get_tensor_shape(name))

    def run(self, inputs: Mapping[str, DeviceArray], outputs: Mapping[str, DeviceArray]) -> None:
        """Put the graph on the stream: all inputs it reads, all outputs it writes."""
        if self.fixed:
            self.replay(inputs, outputs)
        else:
            self.point(inputs, outputs)
            self.enqueue()

    def point(self, inputs: Mapping[str, DeviceArray], outputs: Mapping[str, DeviceArray]) -> None:
        """Tell the context where everything lies."""
        for name in self.inputs:
            if not self.context.set_input_shape(name, inputs[name].shape):
                raise BackendError(f"engine {self.name}: {name} cannot be {list(inputs[name].shape)}")
            self.context.set_tensor_address(name, inputs[name].pointer)
        for name in self.outputs:
            self.context.set_tensor_address(name, outputs[name].pointer)

    def enqueue(self) -> None:
        """Run what was pointed to."""
        if not self.context.execute_async_v3(self.stream.address):
            raise BackendError(f"engine {self.name} did not run: {last_error()}")

    def replay(self, inputs: Mapping[str, DeviceArray], outputs: Mapping[str, DeviceArray]) -> None:
        """Run from and to buffers of our own, whose addresses a captured graph can keep."""
        if not self.held:
            names = (*self.inputs, *self.outputs)
            self.held = {n: self.stream.empty(self.shape(n), self.dtypes[n]) for n in names}
        for name in self.inputs:
            self.stream.put(self.held[name], inputs[name])
        if self.replayed is None:
            self.point(self.held, self.held)
            self.enqueue()  # once outside: the first run may allocate, which a capture forbids
            self.replayed = self.capture()
        else:
            checked("cudaGraphLaunch", self.replayed, self.stream.handle)
        for name in self.outputs:
            self.stream.put(outputs[name], self.held[name])

    def capture(self) -> Any:
        """The run as an executable CUDA graph."""
        self.stream.synchronize()
        mode = bindings().cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        checked("cudaStreamBeginCapture", self.stream.handle, mode)
        self.enqueue()
        graph = checked("cudaStreamEndCapture", self.stream.handle)
        made = checked("cudaGraphInstantiate", graph, 0)
        checked("cudaGraphDestroy", graph)
        return made

    def close(self) -> None:
        """Free the captured graph, the buffers and the engine."""
        if self.replayed is not None:
            checked("cudaGraphExecDestroy", self.replayed)
        self.held.clear()
        del self.context, self.engine, self.runtime
