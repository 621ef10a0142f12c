"""Which operations of a half precision package stay in fp32.

The decoder's queries: each layer asks the picture where the last one said its box is, so the rounding of one
layer is what the next one looks at. All in half precision, the built-in model's queries are wrong by 0.7 %,
and no single operation is to blame. They are 201 tokens among 5184.

Coordinates on their way to a sine or a logarithm: in half precision they step by half a pixel at 1008 px, and
a click's encoding multiplies that by up to 20.
"""

from __future__ import annotations

from typing import Any

from sam3_edge.spec import GraphSpec

KEEN = frozenset({"sin", "cos", "log"})
# What moves or combines numbers one by one, without weights: precision is lost on the way through.
PASSING = frozenset(
    {
        *("add", "sub", "mul", "real_div", "abs", "sign", "clip", "sigmoid", "relu", "cast"),
        *("concat", "expand_dims", "reshape", "slice_by_index", "split", "squeeze", "stack", "transpose"),
    }
)


class Precision:
    """Tells coremltools which operations of one graph to halve."""

    def __init__(self, spec: GraphSpec) -> None:
        found = [int(t.sized()[1]) for t in spec.outputs if t.name == "queries"]
        # With them goes the token that tells presence.
        self.query_counts = {count + more for count in found for more in (0, 1)}
        self.keen: dict[int, bool] = {}

    def halved(self, operation: Any) -> bool:
        """Whether an operation is computed in half precision."""
        return not (self.is_of_queries(operation) or self.is_keen(operation))

    def is_of_queries(self, operation: Any) -> bool:
        """Whether a result has an axis of all queries; none of our other axes has that length."""
        return any(self.query_counts & set(output.shape) for output in operation.outputs)

    def is_keen(self, operation: Any) -> bool:
        """Whether a sine, cosine or logarithm takes the result, perhaps by way of passing operations."""
        if operation.op_type in KEEN:
            return True
        if operation.op_type not in PASSING:
            return False
        if id(operation) not in self.keen:
            after = [child for output in operation.outputs for child in output.child_ops]
            self.keen[id(operation)] = any(self.is_keen(child) for child in after)
        return self.keen[id(operation)]
