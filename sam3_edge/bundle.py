"""A bundle on disk: opened with every check that costs no hashing, hashed file by file as files are used."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from sam3_edge.errors import CheckError, SourceError, UsageError
from sam3_edge.manifest import (
    MANIFEST,
    MAX_BYTES,
    SEAL,
    SHA256,
    FileRecord,
    GraphFile,
    Manifest,
    parse_manifest,
)
from sam3_edge.spec import GraphSpec, graph_specs

AGAIN = "copy the bundle again or export it again"
Stamp = tuple[int, ...]
# What each file hashed to, for the life of the process: a 1.7 GB backbone takes seconds to hash.
_hashed: dict[Stamp, str] = {}


@dataclass(frozen=True, kw_only=True, eq=False)
class Bundle(Manifest):
    """A directory of verified graphs. `path` has no links in it; `hash` is the sha256 of `bundle.json`."""

    path: Path
    hash: str

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Bundle:
        """Check everything but the files' contents; `file` and `graph` check those of what they return.

        Raises `SourceError` if there is nothing to read at `path`, `CheckError` if it is not a sound bundle.
        """
        folder = Path(os.path.realpath(path))
        if not folder.is_dir():
            fact = "is a file, not a directory" if folder.exists() else "does not exist"
            raise SourceError(f"bundle {path} {fact}: give the directory that `sam3-edge export` wrote")
        manifest, digest = read_manifest(folder)
        _check_tree(folder, {file.path: file for file in manifest.files})
        return cls(**vars(manifest), path=folder, hash=digest)

    @property
    def specs(self) -> dict[str, GraphSpec]:
        """Inputs and outputs of the graphs in the bundle, in the order in which a frame runs through them."""
        return {name: spec for name, spec in graph_specs(self.config).items() if name in self.graphs}

    def file(self, relative: str) -> Path:
        """The path of a listed file whose contents are as listed. Raises `CheckError` otherwise.

        A file is hashed once per process, and again when it was replaced, resized or written to.
        """
        for record in self.files:
            if record.path == relative:
                return _checked(self.path, record, remember=True)
        raise CheckError(f"bundle {self.path}: there is no file {relative!r} in it; {AGAIN} with that part")

    def graph(self, name: str) -> Path:
        """The path of a graph, after checking every file in its folder: external data lies there too."""
        if name not in self.graphs:
            has = ", ".join(sorted(self.graphs)) or "none"
            raise CheckError(
                f"bundle {self.path}: it has no graph {name!r} (it has {has}): export it with that graph"
            )
        for record in self._parts(self.graphs[name]):
            _checked(self.path, record, remember=True)
        return self.path / self.graphs[name].path

    def to_json(self) -> dict[str, Any]:
        """What `inspect` shows: plain values, sizes in bytes."""
        graphs = {
            name: asdict(graph) | {"bytes": sum(part.bytes for part in self._parts(graph))}
            for name, graph in self.graphs.items()
        }
        return {
            "path": str(self.path),
            "hash": self.hash,
            "target": self.target,
            "scheme": self.scheme,
            "licence": self.licence,
            "source": asdict(self.source),
            "bytes": sum(file.bytes for file in self.files),
            "files": len(self.files),
            "graphs": graphs,
            "config": self.config.to_json(),
            "tools": dict(self.tools),
            "report": dict(self.report),
        }

    def _parts(self, graph: GraphFile) -> list[FileRecord]:
        return [file for file in self.files if file.path.startswith(graph.folder)]


def verify(
    path: str | os.PathLike[str],
    expect: str | None = None,
    *,
    advance: Callable[[int], object] = lambda size: None,
) -> Bundle:
    """Open a bundle and hash all of it, whatever was hashed before. `advance` is told the bytes of each file.

    A bundle carries its own hash, which answers accidents. Only `expect`, a hash that came by another way,
    answers tampering: who changes a file can also write a new `bundle.sha256`.
    """
    if expect is not None and not SHA256.fullmatch(expect.strip().lower()):
        raise UsageError(f"expected hash {expect!r:.80}: want 64 hex digits, the first word of a {SEAL}")
    bundle = Bundle.open(path)
    if expect is not None and bundle.hash != expect.strip().lower():
        raise CheckError(
            f"bundle {path}: its hash is {bundle.hash}, not the expected one: it is another bundle or was "
            "tampered with; get it again from where the expected hash comes from"
        )
    for record in bundle.files:
        _checked(bundle.path, record, remember=False)
        advance(record.bytes)
    return bundle


def read_manifest(folder: Path) -> tuple[Manifest, str]:
    """`bundle.json` and its hash, after comparing it to `bundle.sha256`."""
    for name in (MANIFEST, SEAL):
        if not os.path.lexists(folder / name):
            raise CheckError(f"bundle {folder}: {name} is missing; {AGAIN}, or give another directory")
    with _opened(folder, MANIFEST) as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise CheckError(f"bundle {folder}: {MANIFEST} is over {MAX_BYTES} bytes; {AGAIN}")
    digest = hashlib.sha256(data).hexdigest()
    with _opened(folder, SEAL) as file:
        sealed = file.read(len(seal_line(digest)) + 1)
    if sealed != seal_line(digest):
        raise CheckError(f"bundle {folder}: {MANIFEST} and {SEAL} do not match, so one is damaged; {AGAIN}")
    try:
        return parse_manifest(data), digest
    except CheckError as error:
        raise CheckError(f"bundle {folder}: {error}") from error


def seal_line(digest: str) -> bytes:
    """The content of `bundle.sha256`: `sha256sum -c bundle.sha256` reads it."""
    return f"{digest}  {MANIFEST}\n".encode()


def walk_files(folder: Path) -> Iterator[tuple[str, int]]:
    """Relative name and size of every file but the two that seal a bundle. Raises `CheckError` at a link."""
    pending = [""]
    while pending:
        prefix = pending.pop()
        try:
            entries = list(os.scandir(folder / prefix))
        except OSError as error:
            raise SourceError(f"bundle {folder}: cannot list {prefix or '.'!r}: {error.strerror}") from error
        for entry in entries:
            name = prefix + entry.name
            kind = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(kind.st_mode):
                pending.append(f"{name}/")
            elif not stat.S_ISREG(kind.st_mode):
                raise CheckError(
                    f"bundle {folder}: {name!r} is a link or no plain file; {AGAIN}, without links"
                )
            elif name not in (MANIFEST, SEAL):
                yield name, kind.st_size


def file_sha256(file: BufferedReader) -> str:
    """The sha256 of the rest of an open file, in constant memory."""
    digest, block = hashlib.sha256(), memoryview(bytearray(1 << 20))
    while count := file.readinto(block):
        digest.update(block[:count])
    return digest.hexdigest()


def _check_tree(folder: Path, listed: dict[str, FileRecord]) -> None:
    """The directory holds the listed files, at their sizes, and nothing else."""
    missing = set(listed)
    for name, size in walk_files(folder):
        if name not in listed:
            raise CheckError(f"bundle {folder}: {name!r} is not listed in {MANIFEST}; remove it, or {AGAIN}")
        if size != listed[name].bytes:
            raise CheckError(f"bundle {folder}: {name} has {size} bytes, want {listed[name].bytes}; {AGAIN}")
        missing.remove(name)
    if missing:
        raise CheckError(f"bundle {folder}: {min(missing)} is missing ({len(missing)} in all); {AGAIN}")


def _checked(folder: Path, record: FileRecord, *, remember: bool) -> Path:
    with _opened(folder, record.path) as file:
        status = os.fstat(file.fileno())
        # The change time as well: the modification time can be set back, this one cannot.
        stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        found = _hashed.get(stamp) if remember else None
        found = found or file_sha256(file)
    if found != record.sha256:
        fact = f"sha256 {found[:12]}..., want {record.sha256[:12]}..."
        raise CheckError(f"bundle {folder}: {record.path} is damaged ({fact}); {AGAIN}")
    _hashed[stamp] = found
    return folder / record.path


def _opened(folder: Path, relative: str) -> BufferedReader:
    """A file of the bundle, opened without following a link: the tree may have changed since the walk."""
    path = folder / relative
    if os.path.realpath(path) != str(path) or (path.exists() and not path.is_file()):
        raise CheckError(f"bundle {folder}: {relative} is a link or no plain file; {AGAIN}, without links")
    try:
        return open(
            path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NOFOLLOW", 0))
        )
    except FileNotFoundError as error:
        raise CheckError(f"bundle {folder}: {relative} is missing; {AGAIN}") from error
    except OSError as error:
        raise SourceError(
            f"bundle {folder}: cannot read {relative}: {error.strerror}; check its permissions"
        ) from error
