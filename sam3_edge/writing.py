"""Writing result files: whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from sam3_edge.errors import ResourceError, UsageError
from sam3_edge.staging import FULL


def write_file(path: str | Path, data: bytes, *, overwrite: bool = False) -> Path:
    """Write into a hidden sibling, then rename, so that nobody sees half a file. Missing folders are made.

    Raises `UsageError` if the file exists and `overwrite` is not set, or nothing can be written there;
    `ResourceError` if the disk is full.
    """
    path = Path(path)
    if os.path.lexists(path) and not overwrite:
        raise UsageError(f"{path} exists: pass --overwrite or another -o")
    part = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        os.replace(part, path)
    except OSError as error:
        if error.errno in FULL:
            raise ResourceError(
                f"{path}: {error.strerror}, nothing was kept: "
                f"free {len(data) // 1024 + 1} KB or pass another -o"
            ) from error
        raise UsageError(f"{path} cannot be written ({error.strerror}): pass another -o") from error
    finally:
        if part.is_file():
            part.unlink()
    return path
