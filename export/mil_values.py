"""Values in a Core ML package: constants in the program and in its weight file, as torch tensors.

The layout of the weight file is that of coremltools 9.0 (`mlmodel/src/MILBlob/Blob/StorageFormat.hpp`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sam3_edge.errors import CheckError

from .coreml_tools import MIL_pb2

Constant = torch.Tensor | str
SENTINEL = 0xDEADBEEF
RECORD = struct.Struct("<IIQQQ")  # sentinel, kind, bytes, offset, padding bits
# How a kind of number is stored, by its name in the file's schema; those under a byte are packed, low bits
# first.
STORED = {
    "FLOAT16": np.float16,
    "FLOAT32": np.float32,
    "INT8": np.int8,
    "UINT8": np.uint8,
    "INT16": np.int16,
    "UINT16": np.uint16,
    "INT32": np.int32,
    "UINT32": np.uint32,
    "BOOL": np.bool_,
}
PACKED = {"UINT1": 1, "UINT2": 2, "UINT3": 3, "UINT4": 4, "UINT6": 6, "INT4": 4}
# What a value is while it is computed with: torch has few operators for the other integers.
COMPUTED = {"FLOAT16": torch.float16, "FLOAT32": torch.float32, "BOOL": torch.bool}


@dataclass(frozen=True)
class Kind:
    """The type of one value: `dtype` by its name in the file's schema, and its shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def torch_dtype(self) -> torch.dtype:
        """What torch computes it as: int32 for every integer."""
        return COMPUTED.get(self.dtype, torch.int32)


def kind_of(declared: Any, where: str) -> Kind:
    """A type from its message. Raises `CheckError` for what is no tensor of a known size."""
    if declared.WhichOneof("type") != "tensorType":
        raise CheckError(f"{where} is no tensor: the evaluator knows nothing else")
    tensor = declared.tensorType
    if any(dimension.WhichOneof("dimension") != "constant" for dimension in tensor.dimensions):
        raise CheckError(f"{where} has an open size: export it with fixed shapes")
    shape = tuple(int(dimension.constant.size) for dimension in tensor.dimensions)
    return Kind(MIL_pb2.DataType.Name(tensor.dataType), shape)


def constant_of(value: Any, weights: Path, where: str) -> Constant:
    """A constant from its message. Strings have no shape here."""
    kind = kind_of(value.type, where)
    if value.WhichOneof("value") == "blobFileValue":
        stored = value.blobFileValue
        return unpacked(blob(weights / Path(stored.fileName).name, stored.offset), kind, where)
    tensor = value.immediateValue.tensor
    held = tensor.WhichOneof("value")
    if held == "strings":
        return str(tensor.strings.values[0])
    if held == "bytes":
        return unpacked(np.frombuffer(tensor.bytes.values, np.uint8), kind, where)
    numbers = getattr(tensor, held).values if held else []
    return torch.tensor(list(numbers), dtype=kind.torch_dtype).reshape(kind.shape)


def blob(path: Path, offset: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The bytes of one record of a weight file, not read before they are used. Raises `CheckError`."""
    size = path.stat().st_size if path.is_file() else 0
    if offset + RECORD.size > size:
        raise CheckError(f"{path}: there is no weight at {offset}, the file has {size} bytes: export again")
    with open(path, "rb") as file:
        file.seek(offset)
        sentinel, _, count, start, _ = RECORD.unpack(file.read(RECORD.size))
    if sentinel != SENTINEL or start + count > size:
        raise CheckError(f"{path}: there is no weight at {offset}: export again")
    return np.memmap(path, np.uint8, "c", offset=start, shape=(count,))  # copy on write: torch wants that


def unpacked(data: np.ndarray[Any, Any], kind: Kind, where: str) -> torch.Tensor:
    """Bytes as a tensor of its kind. Raises `CheckError` if they are too few or too many."""
    count = int(np.prod(kind.shape))
    if kind.dtype in PACKED:
        bits = PACKED[kind.dtype]
        right = len(data) == -(-count * bits // 8)
        values = split_bits(data, bits, count, signed=kind.dtype.startswith("INT")) if right else data
    elif kind.dtype in STORED:
        right = len(data) == count * np.dtype(STORED[kind.dtype]).itemsize
        values = data.view(STORED[kind.dtype]) if right else data
    else:
        raise CheckError(f"{where} is of {kind.dtype}, which the evaluator does not know")
    if not right:
        raise CheckError(f"{where} has {len(data)} bytes, which are not {count} of {kind.dtype}")
    if not values.flags.writeable:
        values = values.copy()
    if values.dtype.kind not in "fb":
        values = values.astype(np.int32)
    return torch.from_numpy(values).reshape(kind.shape)


def split_bits(data: np.ndarray[Any, Any], bits: int, count: int, *, signed: bool) -> np.ndarray[Any, Any]:
    """`count` numbers of `bits` bits each, the first in the lowest bits of the first byte."""
    flat = np.unpackbits(data, bitorder="little")[: count * bits].reshape(count, bits).astype(np.int32)
    values = flat @ (1 << np.arange(bits, dtype=np.int32))
    return np.where(values >= 1 << bits - 1, values - (1 << bits), values) if signed else values
