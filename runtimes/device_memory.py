"""Memory and streams of a CUDA device through NVIDIA's own bindings: no torch, no pycuda."""

from __future__ import annotations

import ctypes
import math
import weakref
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam3_edge.errors import BackendError, ResourceError, UsageError
from sam3_edge.session import Index

Shape = tuple[int, ...]


@cache
def bindings() -> Any:
    """NVIDIA's `cuda.bindings.runtime`. Raises `BackendError` with the command that installs it."""
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise BackendError(
            f"NVIDIA's CUDA bindings do not import ({error}): "
            "pip install 'cuda-python>=12.6,<13' for CUDA 12, cuda-python for CUDA 13"
        ) from error
    return runtime


def checked(call: str, *arguments: Any) -> Any:
    """Call a function of the CUDA runtime and return what it gives besides its error code.

    Raises `ResourceError` when memory is out, `BackendError` for any other error, with CUDA's own text.
    """
    cuda = bindings()
    code, *values = getattr(cuda, call)(*arguments)
    if code != cuda.cudaError_t.cudaSuccess:
        _, name = cuda.cudaGetErrorName(code)
        _, text = cuda.cudaGetErrorString(code)
        fact = f"{call}: {name.decode()} ({text.decode()})"
        if code == cuda.cudaError_t.cudaErrorMemoryAllocation:
            raise ResourceError(
                f"{fact}: close other programs on the device, or export with a smaller --image-size"
            )
        raise BackendError(f"{fact}: check the driver with nvidia-smi, on Jetson with jetson_release")
    return values[0] if len(values) == 1 else tuple(values)


@dataclass(frozen=True)
class Gpu:
    """What a device is: engines are built for exactly this."""

    name: str
    capability: str
    runtime: str
    driver: str
    integrated: bool

    @classmethod
    def current(cls) -> Gpu:
        """The device that this process uses. Raises `BackendError` where there is none."""
        facts = checked("cudaGetDeviceProperties", checked("cudaGetDevice"))
        return cls(
            name=facts.name.decode(),
            capability=f"{facts.major}.{facts.minor}",
            runtime=dotted(checked("cudaRuntimeGetVersion")),
            driver=dotted(checked("cudaDriverGetVersion")),
            integrated=bool(facts.integrated),
        )


def dotted(version: int) -> str:
    """12060 -> 12.6, as CUDA counts its versions."""
    return f"{version // 1000}.{version % 1000 // 10}"


class Stream:
    """The stream on which everything of a session happens, in order, and the memory that belongs to it."""

    def __init__(self, *, integrated: bool) -> None:
        cuda = bindings()
        self.integrated = integrated
        self.handle = checked("cudaStreamCreateWithFlags", cuda.cudaStreamNonBlocking)
        self.address = int(self.handle)

    def synchronize(self) -> None:
        """Wait until all that was asked for is done."""
        checked("cudaStreamSynchronize", self.handle)

    def empty(self, shape: Shape, dtype: Any) -> DeviceArray:
        """An array of unknown contents. On a chip that shares its memory the host sees it too."""
        kind = np.dtype(dtype)
        size = max(1, math.prod(shape) * kind.itemsize)
        if self.integrated:
            pointer = int(checked("cudaMallocManaged", size, bindings().cudaMemAttachGlobal))
            release = release_shared
        else:
            pointer = int(checked("cudaMallocAsync", size, self.handle))
            release = release_ordered
        array = DeviceArray(pointer, shape, kind, Block())
        weakref.finalize(array.block, release, pointer, self.handle)
        return array

    def zeros(self, shape: Shape, dtype: Any) -> DeviceArray:
        """An array of zeros."""
        array = self.empty(shape, dtype)
        checked("cudaMemsetAsync", array.pointer, 0, array.nbytes, self.handle)
        return array

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy bytes between any two places. Pageable memory of the host has been read when this returns."""
        checked(
            "cudaMemcpyAsync", target, source, size, bindings().cudaMemcpyKind.cudaMemcpyDefault, self.handle
        )

    def put(self, target: DeviceArray, source: NDArray[Any] | DeviceArray) -> None:
        """Copy an array of the same shape and type."""
        if isinstance(source, DeviceArray):
            self.copy(target.pointer, source.pointer, target.nbytes)
        else:
            flat = np.ascontiguousarray(source, target.dtype)
            self.copy(target.pointer, flat.ctypes.data, target.nbytes)

    def get(self, source: DeviceArray) -> NDArray[Any]:
        """The array on the host. On a chip that shares its memory nothing crosses a bus."""
        host = np.empty(source.shape, source.dtype)
        if self.integrated:
            self.synchronize()
            ctypes.memmove(host.ctypes.data, source.pointer, source.nbytes)
        else:
            self.copy(host.ctypes.data, source.pointer, source.nbytes)
            self.synchronize()
        return host

    def close(self) -> None:
        """Wait, and give the stream back. Arrays that still live keep their memory until they die."""
        self.synchronize()


def release_ordered(pointer: int, stream: Any) -> None:
    """Free memory when the stream is done with it."""
    bindings().cudaFreeAsync(pointer, stream)


def release_shared(pointer: int, stream: Any) -> None:
    """Free memory that host and device share: once nothing runs that may read it."""
    bindings().cudaStreamSynchronize(stream)
    bindings().cudaFree(pointer)


class Block:
    """Owns device memory: freed when no array and no view of one is left."""


@dataclass(frozen=True, eq=False)
class DeviceArray:
    """A contiguous array on the device, or a view of a part of one."""

    pointer: int
    shape: Shape
    dtype: np.dtype[Any]
    block: Block

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def part(self, index: Index) -> DeviceArray:
        """`self[index]` as a view: integers, then at most one slice, so that it is contiguous."""
        start, shape = 0, self.shape
        for place, key in enumerate(index):
            step = math.prod(shape[1:]) * self.dtype.itemsize
            if isinstance(key, slice):
                first, last, stride = key.indices(shape[0])
                if stride != 1 or place != len(index) - 1:
                    raise UsageError(f"part {index} of an arena: want integers, then at most one plain slice")
                start, shape = start + first * step, (max(0, last - first), *shape[1:])
            else:
                if not -shape[0] <= key < shape[0]:
                    raise UsageError(f"part {index} of an arena: {key} is outside its {shape[0]}")
                start, shape = start + key % shape[0] * step, shape[1:]
        return DeviceArray(self.pointer + start, shape, self.dtype, self.block)
