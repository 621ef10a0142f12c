"""What stands at the edge of a graph: tensors with a name, a shape and a dtype."""

from __future__ import annotations

from dataclasses import dataclass

# The axis of a tracker graph along which its objects lie: any number of them, the same in the whole call.
OBJECTS = "B"
Shape = tuple[int | str, ...]


@dataclass(frozen=True)
class TensorSpec:
    """One tensor at the edge of a graph. `dtype` is a numpy name, `OBJECTS` an axis of any length."""

    name: str
    shape: Shape
    dtype: str = "float32"

    def sized(self, objects: int = 1) -> tuple[int, ...]:
        """The shape in a call for so many objects."""
        return tuple(objects if isinstance(length, str) else length for length in self.shape)

    @property
    def per_object(self) -> bool:
        """Whether the tensor has one row for each object of the call."""
        return OBJECTS in self.shape


@dataclass(frozen=True)
class GraphSpec:
    """One graph: its name, its inputs and its outputs, in order."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def per_object(self) -> bool:
        """Whether one call is for several objects."""
        return any(tensor.per_object for tensor in self.inputs)
