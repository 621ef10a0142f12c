"""What the backbone made of pictures, kept in a folder: annotation tools come back to the same pictures."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import time
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sam3_edge.errors import CheckError, UsageError
from sam3_edge.tensors import TensorSpec
from sam3_edge.writing import write_file

SUFFIX = ".npz"
ABANDONED = 3600  # seconds after which a half-written file is nobody's

# What reading a broken zip raises: a changed method is a NotImplementedError, a changed flag a RuntimeError.
BROKEN = (
    *(OSError, ValueError, KeyError, EOFError, OverflowError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)


@dataclass(frozen=True)
class EmbeddingCache:
    """A folder of trunk features, by picture and bundle. At full size one takes 21 MB.

    `most_bytes` bounds the folder: the entries unused for longest make room. Several processes may share it.
    """

    folder: Path
    most_bytes: int = 4 * 2**30

    @classmethod
    def of(cls, cache: EmbeddingCache | str | Path) -> EmbeddingCache:
        """A folder's name in the short form."""
        return cache if isinstance(cache, EmbeddingCache) else cls(Path(cache))

    def path(self, picture: NDArray[np.uint8], bundle: str) -> Path:
        """Where the entry of a picture [H, W, 3] and a bundle's hash is: both are in its name."""
        digest = hashlib.sha256(repr(picture.shape).encode())
        digest.update(np.ascontiguousarray(picture).data)
        return self.folder / f"{digest.hexdigest()[:32]}-{bundle[:32]}{SUFFIX}"

    def read(self, path: Path, spec: TensorSpec) -> NDArray[np.float32] | None:
        """The entry's array, None if there is none. A damaged entry is named by a warning, and is none."""
        try:
            array = load(path, spec)
            os.utime(path)
        except FileNotFoundError:
            return None
        except (*BROKEN, CheckError) as error:
            warnings.warn(f"{path} is damaged ({error}): the picture is computed again", stacklevel=3)
            return None
        return array

    def write(self, path: Path, spec: TensorSpec, array: NDArray[np.float32]) -> None:
        """Keep an entry, whole or not at all, and take the oldest ones away.

        Raises `UsageError` if not even this one has room, or nothing can be written there; `ResourceError`
        if the disk is full.
        """
        data = io.BytesIO()
        np.savez(data, allow_pickle=False, **{spec.name: array})
        if data.getbuffer().nbytes > self.most_bytes:
            raise UsageError(
                f"cache {self.folder}: a picture takes {data.getbuffer().nbytes} bytes, "
                f"more than the {self.most_bytes} that it may have: give it more"
            )
        write_file(path, data.getvalue(), overwrite=True)
        self.shrink(path)

    def shrink(self, newest: Path) -> None:
        """Remove entries until the folder is within its bound, and what a killed process left."""
        for part in self.folder.glob(f".*{SUFFIX}.*"):
            if (seen := status(part)) and time.time() - seen.st_mtime > ABANDONED:
                part.unlink(missing_ok=True)
        entries = {path: seen for path in self.folder.glob(f"*{SUFFIX}") if (seen := status(path))}
        total = sum(seen.st_size for seen in entries.values())
        for path in sorted(entries, key=lambda path: (path == newest, entries[path].st_mtime_ns)):
            if total <= self.most_bytes:
                break
            path.unlink(missing_ok=True)
            total -= entries[path].st_size


def status(path: Path) -> os.stat_result | None:
    """None for a file that another process has just removed."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def load(path: Path, spec: TensorSpec) -> NDArray[np.float32]:
    """The array of an entry. Checksums first: a broken header could ask for any amount of memory."""
    with zipfile.ZipFile(path) as file:
        if file.testzip() is not None:
            raise CheckError("its checksum is wrong")
    with np.load(path, allow_pickle=False) as arrays:
        array: NDArray[np.float32] = arrays[spec.name]
    if array.shape != spec.sized() or array.dtype != spec.dtype:
        raise CheckError(f"it holds {array.dtype} {list(array.shape)}")
    return array
