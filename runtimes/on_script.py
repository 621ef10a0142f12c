"""A session that gives the answers it was told, frame by frame: it drives the loop without a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from sam3_edge import __version__
from sam3_edge.errors import CheckError, UsageError
from sam3_edge.session import HostValues, Value, check_feeds
from sam3_edge.spec import GraphSpec, ModelConfig, graph_specs

Answers = Mapping[str, NDArray[Any]]  # an array for each output; zeros for those that are left out
Answer = Answers | Callable[[Mapping[str, Value]], Answers]  # also made from what the graph was fed
Frame = Mapping[str, Answer | Sequence[Answer]]  # per graph: one answer for every call, or one for each


class ScriptedSession(HostValues):
    """Answers for the graphs of `config`. `frames` may be endless: one is taken at each run of the backbone.

    A graph that the frame says nothing of answers zeros. `calls` keeps what was asked on the last `keep`
    frames: for each frame, the graphs and what they were fed.
    """

    def __init__(
        self, config: ModelConfig, frames: Iterable[Frame], *, always: Frame | None = None, keep: int = 0
    ) -> None:
        self.specs, self.keep = graph_specs(config), keep
        self.frames: Iterator[Frame] = iter(frames)
        self.always: Frame = always or {}
        self.frame: Frame = {}
        self.counts: dict[str, int] = {}
        self.calls: list[list[tuple[str, dict[str, NDArray[Any]]]]] = []

    def run(self, graph: str, feeds: Mapping[str, Value]) -> dict[str, Value]:
        if graph not in self.specs:
            raise UsageError(f"there is no graph {graph!r}: choose from {', '.join(self.specs)}")
        spec = self.specs[graph]
        check_feeds(spec, feeds)
        if graph == "backbone":
            self.begin()
        if self.keep and self.calls:
            self.calls[-1].append((graph, {name: np.array(value) for name, value in feeds.items()}))
        answer = self.answer(graph)
        objects = next((len(feeds[t.name]) for t in spec.inputs if t.per_object), 1)
        return filled(spec, answer(feeds) if callable(answer) else answer, objects)

    def begin(self) -> None:
        """The next frame. Raises `CheckError` when the script has none."""
        try:
            self.frame = next(self.frames)
        except StopIteration:
            raise CheckError("the script has no more frames: it is shorter than the video") from None
        self.counts.clear()
        if self.keep:
            self.calls = [*self.calls[1 - self.keep :], []] if self.keep > 1 else [[]]

    def answer(self, graph: str) -> Answer:
        """What the frame says of this call."""
        said = self.frame.get(graph, self.always.get(graph, {}))
        if isinstance(said, Mapping) or callable(said):
            return said
        count = self.counts.get(graph, 0)
        self.counts[graph] = count + 1
        if count == len(said):
            raise CheckError(f"graph {graph} is run {count + 1} times on a frame, the script has {count}")
        return said[count]

    def close(self) -> None:
        self.calls.clear()


def filled(spec: GraphSpec, answers: Answers, objects: int) -> dict[str, Value]:
    """All outputs of a graph, checked. Raises `CheckError` for one of another name, shape or dtype."""
    outputs = {tensor.name: tensor for tensor in spec.outputs}
    if extra := sorted(answers.keys() - outputs.keys()):
        raise CheckError(f"script: graph {spec.name} has no output {extra[0]}: it has {', '.join(outputs)}")
    out: dict[str, Value] = {}
    for name, tensor in outputs.items():
        shape = tensor.sized(objects)
        array = answers[name] if name in answers else np.zeros(shape, tensor.dtype)
        if array.shape != shape or array.dtype != tensor.dtype:
            raise CheckError(
                f"script: {spec.name}, output {name}: want {tensor.dtype} {list(shape)}, "
                f"got {array.dtype} {list(array.shape)}"
            )
        out[name] = array
    return out


def open(bundle: object, *, threads: int | None = None) -> NoReturn:
    """A script is made by a program, not read from a bundle: always raises `UsageError`."""
    raise UsageError("a bundle of target script cannot be opened: make a ScriptedSession in a program")


def selfcheck() -> str:
    """Play one frame of a small model and return the version text: a script is this package's own."""
    config = ModelConfig(image_size=336)
    trunk = np.ones((1, config.grid**2, config.trunk_dim), np.float32)
    session = ScriptedSession(config, [{"backbone": {"trunk_feature": trunk}}])
    answers = session.run("backbone", {"image": np.zeros((1, 3, 336, 336), np.float32)})
    if answers["trunk_feature"] is not trunk:
        raise CheckError("script: the answer is not what it was told")
    return f"sam3-edge {__version__}, scripted answers"
