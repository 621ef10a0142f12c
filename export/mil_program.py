"""A saved Core ML package, read as it lies on disk: functions, operations, their types and constants.

It is read without coremltools' own loader, which builds the program anew and infers its types again: what is
checked here must be what a device gets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from sam3_edge.errors import CheckError

from .coreml_tools import Model_pb2
from .mil_values import Constant, Kind, constant_of, kind_of

CONTENT = "Data/com.apple.CoreML"
MODEL, WEIGHTS = "model.mlmodel", "weights"


@dataclass(frozen=True)
class Operation:
    """One operation. An argument is the name of a value, a constant, or a tuple of them.

    `outputs` are names with the types that the file declares.
    """

    kind: str
    name: str
    arguments: Mapping[str, Any]
    outputs: tuple[tuple[str, Kind], ...]


@dataclass(frozen=True)
class Name:
    """A value that an earlier operation or the caller gives."""

    text: str


@dataclass(frozen=True)
class Function:
    """What one function takes, does and gives."""

    inputs: Mapping[str, Kind]
    operations: tuple[Operation, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, Constant]
    pictures: frozenset[str] = frozenset()  # inputs that Core ML fills from a pixel buffer: 0 to 255

    def kinds(self) -> dict[str, Kind]:
        """The declared type of every value that is not a constant."""
        made = (output for operation in self.operations for output in operation.outputs)
        return {**self.inputs, **dict(made)}


@dataclass(frozen=True)
class Program:
    """All functions of a package, by name."""

    functions: Mapping[str, Function]

    def function(self, name: str | None = None) -> Function:
        """One function; None for the only one, or `main`. Raises `CheckError` if there is none."""
        wanted = name or ("main" if "main" in self.functions else min(self.functions, default=""))
        if wanted not in self.functions:
            raise CheckError(f"the package has no function {wanted!r}: it has {', '.join(self.functions)}")
        return self.functions[wanted]


def read_spec(package: Path) -> Any:
    """The model message of a package. Raises `CheckError` for what is none, or no ML Program."""
    spec = Model_pb2.Model()
    path = package / CONTENT / MODEL
    try:
        spec.ParseFromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise CheckError(f"{path} is no Core ML model ({error}): export again") from error
    if spec.WhichOneof("Type") != "mlProgram":
        raise CheckError(f"{package} holds a {spec.WhichOneof('Type')}, not an ML Program: export again")
    return spec


def read_program(package: Path) -> Program:
    """Everything in a package. Weights stay on disk until they are used."""
    weights, spec = package / CONTENT / WEIGHTS, read_spec(package)
    return Program(
        {
            name: read_function(function, weights, pictures(spec, name))
            for name, function in spec.mlProgram.functions.items()
        }
    )


def pictures(spec: Any, function: str) -> frozenset[str]:
    """The inputs of a function that are described as pictures. Raises `CheckError` for any but RGB."""
    described = [each for each in spec.description.functions if each.name == function] or [spec.description]
    found = [each for each in described[0].input if each.type.WhichOneof("Type") == "imageType"]
    for each in found:
        kind = each.type.imageType
        if kind.colorSpace != kind.RGB:
            raise CheckError(f"input {each.name} is no RGB picture, which the evaluator does not know")
    return frozenset(each.name for each in found)


def read_function(function: Any, weights: Path, pictures: frozenset[str] = frozenset()) -> Function:
    """One function. Raises `CheckError` if it branches: our graphs never do."""
    block = function.block_specializations[function.opset]
    inputs = {named.name: kind_of(named.type, f"input {named.name}") for named in function.inputs}
    constants: dict[str, Constant] = {}
    operations = []
    for message in block.operations:
        if message.type == "const":
            (output,) = message.outputs
            constants[output.name] = constant_of(message.attributes["val"], weights, output.name)
            continue
        if message.blocks:
            raise CheckError(f"operation {message.type} has blocks, which the evaluator does not know")
        operations.append(read_operation(message, weights))
    return Function(inputs, tuple(operations), tuple(block.outputs), constants, pictures)


def read_operation(message: Any, weights: Path) -> Operation:
    """One operation with its arguments; compressed weights have theirs among the attributes."""
    outputs = tuple((named.name, kind_of(named.type, named.name)) for named in message.outputs)
    where = f"{message.type} {outputs[0][0]}"
    arguments: dict[str, Any] = {
        key: constant_of(value, weights, f"{where}, {key}")
        for key, value in message.attributes.items()
        if key != "name"
    }
    for key, argument in message.inputs.items():
        bound = tuple(
            Name(binding.name)
            if binding.WhichOneof("binding") == "name"
            else constant_of(binding.value, weights, f"{where}, {key}")
            for binding in argument.arguments
        )
        arguments[key] = bound if key == "values" else bound[0]
    return Operation(message.type, outputs[0][0], arguments, outputs)
