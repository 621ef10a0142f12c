"""The files of one run: whole at every moment; in place of an earlier run's only when this one ends well."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sam3_edge.errors import ResourceError, UsageError
from sam3_edge.staging import FULL

RESULTS, MASKS, OVERLAY, SUMMARY = "results.jsonl", "masks", "overlay.mp4", "run.json"
EARLIER, STATES = ".earlier", ".states"
NAMES = (RESULTS, MASKS, OVERLAY, SUMMARY)


class Lines:
    """A file that grows by whole lines. A line that does not fit on the disk is taken back."""

    def __init__(self, path: Path, *, size: int = 0) -> None:
        """`size`: the bytes that stay of what is there."""
        self.path, self.size = path, size
        with writable(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self.file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            os.ftruncate(self.file, size)

    def add(self, line: bytes) -> None:
        """One line, written before this returns. Raises `ResourceError` if the disk is full."""
        try:
            with writable(self.path):
                done = 0
                while done < len(line):
                    done += os.pwrite(self.file, line[done:], self.size + done)
        except BaseException:
            os.ftruncate(self.file, self.size)
            raise
        self.size += len(line)

    def close(self) -> None:
        """Let go of the file."""
        if self.file >= 0:
            os.close(self.file)
            self.file = -1


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """What the system says of a place that cannot be written, as errors that name it."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise ResourceError(
                f"{path}: {error.strerror}; what was written before is whole: free some space, then --resume"
            ) from error
        raise UsageError(f"{path} cannot be written ({error.strerror}): pass another -o") from error


def taken(folder: Path) -> list[Path]:
    """What an earlier run left in a folder."""
    return [folder / name for name in NAMES if os.path.lexists(folder / name)]


def set_aside(folder: Path) -> None:
    """Move an earlier run's files out of the way. Those of a run that was killed in its place just go."""
    if (folder / EARLIER).exists():
        remove(taken(folder))
        return
    if not (there := taken(folder)):
        return
    with writable(folder):
        (folder / EARLIER).mkdir()
        for path in there:
            os.rename(path, folder / EARLIER / path.name)


def put_back(folder: Path) -> bool:
    """Undo `set_aside`; whether there was something to put back."""
    if not (folder / EARLIER).exists():
        return False
    remove([*taken(folder), folder / STATES])
    for path in (folder / EARLIER).iterdir():
        os.rename(path, folder / path.name)
    (folder / EARLIER).rmdir()
    return True


def forget_earlier(folder: Path) -> None:
    """The new files stand for good."""
    remove([folder / EARLIER])


def remove(paths: list[Path]) -> None:
    """Files and folders."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def refuse_taken(folder: Path) -> None:
    """Raises `UsageError` if an earlier run's files are there."""
    if there := taken(folder):
        raise UsageError(f"{there[0]} exists: pass --overwrite, --resume or another -o")
