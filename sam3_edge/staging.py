"""Writing a bundle: everything into a hidden sibling, sealed, and renamed into place last."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from sam3_edge.bundle import file_sha256, read_manifest, seal_line, walk_files
from sam3_edge.errors import CheckError, EdgeError, ResourceError, SourceError, UsageError
from sam3_edge.manifest import MANIFEST, SEAL, FileRecord, Manifest, parse_manifest

# A file over the disk's (FAT: 4 GB) or the user's limit is as little the program's fault as a full disk.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What numpy's `tofile` says then, without a number: ONNX weights and concept packs are written by it.
CUT_SHORT = re.compile(r"\d+ requested and \d+ written|problem writing element")


@contextmanager
def staging(destination: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """A hidden folder beside `destination` that becomes it when the block ends well, and else vanishes.

    Raises `UsageError` before any work if the output exists and `overwrite` is not set, if what exists is
    not a bundle, or if nothing can be written there; `ResourceError` if the disk fills up.
    """
    place = Path(os.path.realpath(destination))
    check_replaceable(place, overwrite=overwrite)
    parents = [parent for parent in place.parents if not parent.exists()]
    folder = _sibling(place, "partial")
    try:
        with _unwritable(place):
            folder.mkdir(parents=True)
        yield folder
        check_replaceable(place, overwrite=overwrite)
        with _unwritable(place):
            _publish(folder, place)
    except BaseException as error:
        full = _full(error, place, folder)
        _discard(folder, parents)
        if full:
            raise full from error
        raise


def seal(folder: Path, manifest: Manifest) -> str:
    """Hash every file of `folder`, write `bundle.json` and `bundle.sha256`, and return the bundle's hash.

    `manifest.files` is ignored. Raises `CheckError` for anything that opening the bundle would refuse.
    """
    files = []
    for name, size in walk_files(folder):
        with open(folder / name, "rb") as file:
            files.append(FileRecord(name, size, file_sha256(file)))
    data = replace(manifest, files=tuple(files)).to_bytes()
    parse_manifest(data)
    digest = hashlib.sha256(data).hexdigest()
    for name, content in ((MANIFEST, data), (SEAL, seal_line(digest))):
        with open(folder / name, "wb") as file:
            file.write(content)
            file.flush()
            # Only these two: after a power cut they tell that another file did not reach the disk.
            os.fsync(file.fileno())
    return digest


def check_replaceable(place: Path, *, overwrite: bool) -> None:
    """Nothing is there, or a bundle that may go: every file in it is one that the bundle lists."""
    if not os.path.lexists(place):
        return
    if not overwrite:
        raise UsageError(f"{place} exists: pass --overwrite or another -o")
    try:
        if next(place.iterdir(), None) is None:
            return
        manifest, _ = read_manifest(place)
        strange = {name for name, _ in walk_files(place)} - {file.path for file in manifest.files}
    except (CheckError, SourceError, OSError) as error:
        raise UsageError(
            f"{place} is no bundle that can be overwritten: remove it or pass another -o"
        ) from error
    if strange:
        raise UsageError(
            f"{place} holds {min(strange)!r}, which is no part of the bundle: move it or pass another -o"
        )


def _publish(folder: Path, place: Path) -> None:
    """Rename `folder` to `place`. A bundle that was there is deleted after that, or put back if it fails."""
    if not os.path.lexists(place):
        os.rename(folder, place)
        return
    old = _sibling(place, "old")
    try:
        os.rename(place, old)
        os.rename(folder, place)
    except BaseException:
        if old.exists() and not os.path.lexists(place):
            os.rename(old, place)
        raise
    shutil.rmtree(old)


def _sibling(place: Path, word: str) -> Path:
    # On the same disk, or the rename would be a copy.
    return place.with_name(f".{place.name}.{word}-{secrets.token_hex(4)}")


@contextmanager
def _unwritable(place: Path) -> Iterator[None]:
    """A refusal by the system, other than a full disk, says that the user has to choose another place."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise
        raise UsageError(f"{place} cannot be written ({error.strerror}): pass another -o") from error


def _full(error: BaseException, place: Path, folder: Path) -> EdgeError | None:
    if not isinstance(error, OSError):
        return None
    if error.errno not in FULL and not CUT_SHORT.match(str(error)):
        return None
    disk = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(disk).free
    fact = error.strerror or "cannot write any more"
    return ResourceError(
        f"{place}: {fact} ({free} bytes free), nothing was kept: free some space or pass another -o"
    )


def _discard(folder: Path, parents: list[Path]) -> None:
    """Remove the staging folder and those parents that were made for it."""
    if os.path.lexists(folder):
        shutil.rmtree(folder)
    for parent in parents:
        if parent.exists() and next(parent.iterdir(), None) is None:
            parent.rmdir()
