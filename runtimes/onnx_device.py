"""ONNX Runtime on a GPU: values stay there from graph to graph, no node is left to the processor unseen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sam3_edge.bundle import Bundle
from sam3_edge.errors import BackendError, UsageError
from sam3_edge.session import Value, check_feeds

from .on_onnx import CPU, OnnxSession, failures, first_line, runtime

if TYPE_CHECKING:
    import onnxruntime

PROVIDERS = {
    "cuda": ("CUDAExecutionProvider",),
    "trt": ("TensorrtExecutionProvider", "CUDAExecutionProvider"),  # what TensorRT does not take, CUDA does
}
# Sizes are computed on the processor whatever the provider: their operators, on a handful of integers.
ON_SIZES = frozenset({"Concat", "ConstantOfShape", "Gather", "Shape", "Slice", "Squeeze", "Unsqueeze"})


class DeviceSession(OnnxSession):
    """One inference session per graph, its inputs and outputs bound to a device. Arenas are of the host."""

    record = True

    def __init__(
        self, bundle: Bundle, device: str, *, threads: int | None = None, place: str = "cuda"
    ) -> None:
        if device not in PROVIDERS:
            raise UsageError(f"there is no device {device!r}: choose from cpu, {', '.join(PROVIDERS)}")
        super().__init__(bundle, providers=PROVIDERS[device], threads=threads)
        self.place = place

    def session(self, graph: str) -> onnxruntime.InferenceSession:
        """The inference session of one graph, once it is proved to run where it was asked to."""
        new = graph not in self.started
        session = super().session(graph)
        if new and (astray := left_to_processor(session)):
            self.started.pop(graph)
            raise BackendError(
                f"ONNX Runtime {runtime().__version__} leaves {len(astray)} nodes of graph {graph} to the "
                f"processor, {astray[0]} first: update onnxruntime-gpu, or leave --device out"
            )
        return session

    def run(self, graph: str, feeds: Mapping[str, Value]) -> dict[str, Value]:
        spec = self.spec(graph)
        check_feeds(spec, feeds)
        session = self.session(graph)
        try:
            binding = session.io_binding()
            for name, value in feeds.items():
                if isinstance(value, np.ndarray):
                    binding.bind_cpu_input(name, np.ascontiguousarray(value))
                else:
                    binding.bind_ortvalue_input(name, value)
            for tensor in spec.outputs:
                binding.bind_output(tensor.name, self.place)
            session.run_with_iobinding(binding)
        except failures() as error:
            raise BackendError(
                f"ONNX Runtime {runtime().__version__} failed in graph {graph}: {first_line(error)}"
            ) from error
        return {t.name: value for t, value in zip(spec.outputs, binding.get_outputs(), strict=True)}

    def fetch(self, value: Value) -> NDArray[Any]:
        return np.asarray(value if isinstance(value, np.ndarray) else value.numpy())


def left_to_processor(session: onnxruntime.InferenceSession) -> list[str]:
    """Operators of the nodes that the processor would run, but for those on sizes.

    Raises `BackendError` where ONNX Runtime cannot tell.
    """
    if not hasattr(session, "get_provider_graph_assignment_info"):
        raise BackendError(
            f"ONNX Runtime {runtime().__version__} does not tell where nodes run, so that nothing would show "
            "a fall back to the processor: update it"
        )
    parts = session.get_provider_graph_assignment_info()
    nodes = (node for part in parts if part.ep_name in CPU for node in part.get_nodes())
    return [node.op_type for node in nodes if node.op_type not in ON_SIZES]
