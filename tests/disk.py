"""Disks that fill up: at a chosen write of the process, whole or half-way through it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Disk:
    """Counts the writes of lines and of whole files, and fails from the `room`-th on. None: never."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.room: int | None = None
        self.torn = False
        self.writes = 0
        self.pwrite, self.write_bytes = os.pwrite, Path.write_bytes
        patch.setattr(os, "pwrite", self.line)
        patch.setattr(Path, "write_bytes", lambda path, data: self.file(path, data))

    def fill(self, room: int | None, *, torn: bool = False) -> None:
        """So many more writes; `torn`: the first that fails leaves half of its bytes."""
        self.room, self.torn, self.writes = room, torn, 0

    def line(self, file: int, data: bytes, offset: int) -> int:
        if not self.full():
            return self.pwrite(file, data, offset)
        if self.torn:
            self.torn = False
            return self.pwrite(file, data[: len(data) // 2], offset)  # the next write fails
        raise FULL

    def file(self, path: Path, data: bytes) -> int:
        if not self.full():
            return self.write_bytes(path, data)
        self.write_bytes(path, data[: len(data) // 2] if self.torn else b"")
        raise FULL

    def full(self) -> bool:
        """Whether this write does not fit any more."""
        self.writes += 1
        return self.room is not None and self.writes > self.room
