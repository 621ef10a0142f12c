"""ONNX Runtime: runs the graphs of an `onnx` bundle, on the CPU unless another provider is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sam3_edge.bundle import Bundle
from sam3_edge.errors import BackendError, CheckError, UsageError
from sam3_edge.session import HostValues, Value, check_feeds
from sam3_edge.spec import MASKED, GraphSpec, graph_specs
from sam3_edge.tracker_spec import IN_SLOTS

if TYPE_CHECKING:
    import onnxruntime

CPU = ("CPUExecutionProvider",)
DEVICES = ("cpu", "cuda", "trt")
# Bytes of loaded graphs from which on a run gives back what it took. Taking it again costs 1 % where frames
# last seconds, and saves an int8 picture at 1008 px 0.3 of 1.9 GB; a small model would pay 10 % for nothing.
LARGE = 2**28


def runtime() -> Any:
    """The onnxruntime module. Raises `BackendError` with the command that installs it."""
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError(
            f"ONNX Runtime does not import ({error}): pip install 'sam3-edge[onnx]'"
        ) from error
    return onnxruntime


def failures() -> tuple[type[Exception], ...]:
    """ONNX Runtime's exceptions. They share no base class but `Exception`, so they are listed."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return tuple(
        kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)
    )


def first_line(error: Exception) -> str:
    """What ONNX Runtime says, without the rest of its report."""
    return (str(error).splitlines() or [type(error).__name__])[0]


@cache
def share_arena() -> None:
    """One arena for what all graphs of this process compute. With one for each, none gives back its peak:
    a video at 1008 px then takes 10.4 GB, and 6.8 with this.
    """
    ort = runtime()
    kind, use = ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, ort.OrtMemType.DEFAULT
    ort.create_and_register_allocator(ort.OrtMemoryInfo("Cpu", kind, 0, use), None)


def options(threads: int | None, *, record: bool = False) -> onnxruntime.SessionOptions:
    """Session options. Threads that wait must sleep: spinning ones eat the device's cores and battery.

    `record`: keep which provider runs which node, to be asked afterwards.
    """
    made = runtime().SessionOptions()
    made.intra_op_num_threads = threads or 0
    made.inter_op_num_threads = 1
    made.add_session_config_entry("session.intra_op.allow_spinning", "0")
    made.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # A pattern is one block more, for the second run, and the first one's chunks are kept: 1.12 GB instead of
    # 0.78 for features, detector and masks at 1008 px, and no faster. Reuse keeps what a value took for the
    # next of its shape, to the end of the run: 0.56 GB instead of 0.33 for the maps of a trunk at 1008 px.
    made.enable_mem_pattern = made.enable_mem_reuse = False
    share_arena()
    made.add_session_config_entry("session.use_env_allocators", "1")
    made.add_session_config_entry(
        "session.use_device_allocator_for_initializers", "1"
    )  # freed with the graph
    made.add_session_config_entry("session.record_ep_graph_assignment_info", str(int(record)))
    return made


def start(
    source: str | bytes,
    *,
    name: str,
    providers: Sequence[str] = CPU,
    threads: int | None = None,
    record: bool = False,
) -> onnxruntime.InferenceSession:
    """An inference session on exactly the providers asked for. `source`: a file's path, or its bytes."""
    ort = runtime()
    if missing := [provider for provider in providers if provider not in ort.get_available_providers()]:
        raise BackendError(
            f"ONNX Runtime {ort.__version__} has no {missing[0]} here: "
            f"it offers {', '.join(ort.get_available_providers())}"
        )
    try:
        settings = options(threads, record=record)
        session = ort.InferenceSession(source, sess_options=settings, providers=list(providers))
    except failures() as error:
        raise BackendError(
            f"ONNX Runtime {ort.__version__} does not load {name}: {first_line(error)}"
        ) from error
    # A provider that fails to start is dropped with a warning, and the work moves to the CPU.
    if dropped := [provider for provider in providers if provider not in session.get_providers()]:
        raise BackendError(f"ONNX Runtime {ort.__version__} could not start {dropped[0]} for {name}")
    session.disable_fallback()
    return session


class OnnxSession(HostValues):
    """One inference session per graph, made when the graph is first run. Values are host arrays."""

    record = False  # which provider runs which node

    def __init__(self, bundle: Bundle, *, providers: Sequence[str] = CPU, threads: int | None = None) -> None:
        self.bundle, self.providers, self.threads = bundle, tuple(providers), threads
        self.specs = graph_specs(bundle.config)
        self.started: dict[str, onnxruntime.InferenceSession] = {}
        self.weight = 0  # bytes of the files of these
        self.run_options = giving_back() if self.providers == CPU else None

    def spec(self, graph: str) -> GraphSpec:
        """The names, shapes and dtypes of one graph."""
        if graph not in self.specs:
            raise UsageError(f"there is no graph {graph!r}: choose from {', '.join(self.specs)}")
        return self.specs[graph]

    def session(self, graph: str) -> onnxruntime.InferenceSession:
        """The inference session of one graph, started on first use and checked against the spec."""
        if graph not in self.started:
            spec, path = self.spec(graph), self.bundle.graph(graph)
            session = start(
                str(path),
                name=f"graph {graph}",
                providers=self.providers,
                threads=self.threads,
                record=self.record,
            )
            check_names(spec, session, path=path)
            self.started[graph] = session
            self.weight += sum(file.stat().st_size for file in path.parent.iterdir())
        return self.started[graph]

    def run(self, graph: str, feeds: Mapping[str, Value]) -> dict[str, Value]:
        spec = self.spec(graph)
        check_feeds(spec, feeds)
        names = [tensor.name for tensor in spec.outputs]
        session = self.session(graph)
        try:
            given = without_empty(feeds) if any_slots(session) else dict(feeds)
            answers = session.run(names, given, self.run_options if self.weight >= LARGE else None)
        except failures() as error:
            raise BackendError(
                f"ONNX Runtime {runtime().__version__} failed in graph {graph}: {first_line(error)}"
            ) from error
        return dict(zip(names, answers, strict=True))

    def close(self) -> None:
        self.started.clear()


def giving_back() -> onnxruntime.RunOptions:
    """Options of a run after which the arena keeps nothing but its first block."""
    made = runtime().RunOptions()
    made.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return made


def any_slots(session: onnxruntime.InferenceSession) -> bool:
    """Whether a graph takes any number of memory slots: those that are exported `fused` do."""
    return any(node.name in IN_SLOTS and isinstance(node.shape[1], str) for node in session.get_inputs())


def without_empty(feeds: Mapping[str, Value]) -> dict[str, Value]:
    """The feeds without the slots behind the last that any object fills. Memories fill the lowest first."""
    filled = np.argwhere(np.asarray(feeds["memory_bias"]) > MASKED)[:, 1]
    count = int(filled.max(initial=0)) + 1
    return {**feeds, **{name: np.ascontiguousarray(feeds[name][:, :count]) for name in IN_SLOTS}}


def check_names(spec: GraphSpec, session: onnxruntime.InferenceSession, *, path: Path) -> None:
    """Raises `CheckError` for a graph file whose inputs or outputs are not those of the spec."""
    for kind, wanted, nodes in (
        ("inputs", spec.inputs, session.get_inputs()),
        ("outputs", spec.outputs, session.get_outputs()),
    ):
        want, found = [tensor.name for tensor in wanted], [node.name for node in nodes]
        if sorted(want) != sorted(found):
            raise CheckError(
                f"{path}: {kind} are {', '.join(found)}, want {', '.join(want)}: export it again"
            )


def open(
    bundle: Bundle, *, providers: Sequence[str] = CPU, threads: int | None = None, device: str = DEVICES[0]
) -> OnnxSession:
    """A session on `bundle`. `threads`: processor threads inside one node, None for one per core.

    Raises `BackendError` when onnxruntime or a provider is missing; it never moves to another provider, nor
    from another device to the processor.
    """
    runtime()
    if threads is not None and threads < 1:
        raise UsageError(f"threads {threads}: want at least 1")
    if device != DEVICES[0]:
        from .onnx_device import DeviceSession

        return DeviceSession(bundle, device, threads=threads)
    return OnnxSession(bundle, providers=providers, threads=threads)


def field(number: int, value: bytes | int) -> bytes:
    """One protobuf field shorter than 128 bytes: a number, or bytes with their length."""
    if isinstance(value, int):
        return bytes((number << 3, value))
    return bytes((number << 3 | 2, len(value))) + value


def adder() -> bytes:
    """A model of one node, `y = x + x` on float32 [2], by hand: the check needs no onnx package."""
    # ValueInfoProto{name=1, type=2: {tensor=1: {elem_type=1: FLOAT, shape=2: {dim=1: {value=1: 2}}}}}
    kind = field(2, field(1, field(1, 1) + field(2, field(1, field(1, 2)))))
    node = field(1, b"x") + field(1, b"x") + field(2, b"y") + field(4, b"Add")
    graph = field(1, node) + field(2, b"adder") + field(11, field(1, b"x") + kind)
    graph += field(12, field(1, b"y") + kind)
    # ModelProto{ir_version=1, graph=7, opset_import=8: {version=2}}: opset 20, as the exporter writes.
    return field(1, 9) + field(7, graph) + field(8, field(2, 20))


def selfcheck() -> str:
    """Run one real node and return the version text. Raises `BackendError` when that does not work."""
    ort = runtime()
    x = np.array([1.5, -2.0], np.float32)
    (y,) = start(adder(), name="the self-check").run(["y"], {"x": x})
    if not np.array_equal(y, x + x):
        raise BackendError(f"ONNX Runtime {ort.__version__}: {x} + {x} came out as {y}")
    return f"onnxruntime {ort.__version__}, {CPU[0]}"
