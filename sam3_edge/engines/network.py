"""A typed graph as TensorRT's network: the same for every edition of the library, so each is handed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sam3_edge.engines.rungs import OBJECTS_AT_ONCE
from sam3_edge.errors import CheckError


@dataclass(frozen=True)
class Parsed:
    """A network and what it must not outlive."""

    builder: Any
    network: Any
    parser: Any
    config: Any


def parse(library: Any, logger: Any, path: Path) -> Parsed:
    """The strongly typed network of the graph at `path`, and a configuration for it.

    Raises `CheckError` with the parser's own words.
    """
    builder = library.Builder(logger)
    network = builder.create_network(1 << int(library.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = library.OnnxParser(network, logger)
    if not parser.parse_from_file(str(path)):
        error = parser.get_error(0)
        raise CheckError(
            f"TensorRT {library.__version__} does not parse {path}: {error.node_name()}: {error.desc()}"
        )
    config = builder.create_builder_config()
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    if any(-1 in tuple(tensor.shape) for tensor in inputs):
        profile = builder.create_optimization_profile()
        for tensor in inputs:
            profile.set_shape(tensor.name, *(sized(tensor.shape, count) for count in OBJECTS_AT_ONCE))
        config.add_optimization_profile(profile)
    return Parsed(builder, network, parser, config)


def sized(shape: Sequence[int], objects: int) -> tuple[int, ...]:
    """A shape for so many objects."""
    return tuple(objects if length < 0 else length for length in shape)


def build(library: Any, parsed: Parsed, *, name: str, errors: Sequence[str]) -> Any:
    """The engine, as the library's own bytes. Raises `CheckError` with the last of the logger's errors."""
    engine = parsed.builder.build_serialized_network(parsed.network, parsed.config)
    if engine is None:
        reason = (errors or ["it gave no reason"])[-1]
        raise CheckError(f"TensorRT {library.__version__} does not build {name}: {reason}")
    return engine


def keeping_logger(library: Any) -> Any:
    """A logger that keeps the last errors in `errors`. The library takes one for the whole process."""

    class Kept(library.ILogger):  # type: ignore[misc] # the library has no types
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, text: str) -> None:
            if severity <= library.ILogger.Severity.ERROR:
                self.errors = [*self.errors[-9:], text]

    return Kept()
