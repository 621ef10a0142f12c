"""The rungs of the ladder: ways to build one graph, the fastest first, each trusting the backend less."""

from __future__ import annotations

from dataclasses import dataclass

# Objects of one call that a tracker's engine is built for: least, usual, most. More are run in parts.
OBJECTS_AT_ONCE = (1, 4, 4)
# Name of an output that a rung adds to a graph's own.
PROBE = "largest/"


@dataclass(frozen=True)
class Rung:
    """`file` lies in the folder of a graph that has this rung; weights are shared by all of them."""

    name: str
    file: str
    what: str


RUNGS = (
    Rung("typed", "model.onnx", "fp16 where the precision table says so"),
    Rung("unfused", "unfused.onnx", "the same, attention kept in pieces by an output in its middle"),
    Rung("attention_fp32", "attention_fp32.onnx", "the attention core in fp32, its linear layers in fp16"),
    Rung("fp32", "fp32.onnx", "everything in fp32; only the weights are stored in fp16"),
)
