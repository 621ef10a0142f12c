"""Engines that were built and judged here, kept where only their owner can write.

An engine is code that a driver runs, so none is loaded that this installation did not build: a record of what
was built is signed (HMAC-SHA256) with a key that lies outside the cache. That answers files that were copied
from elsewhere, damaged, or written by another user. It does not protect against programs that run as the same
user, which can read the key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sam3_edge.errors import CheckError, UsageError

RECORD = "engines.json"
KEY_BYTES = 32


@dataclass(frozen=True)
class Machine:
    """What an engine is built for, and runs on only."""

    tensorrt: str
    cuda: str
    driver: str
    gpu: str


@dataclass(frozen=True)
class Built:
    """The engines of a bundle: bytes by graph, the rung that they are, and how the ladder was judged."""

    engines: Mapping[str, bytes]
    rung: str
    verdict: Mapping[str, Any]


def cache_folder() -> Path:
    """Where engines lie, by the XDG convention."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sam3-edge" / "engines"


def key_file() -> Path:
    """Where the key lies: not in the cache, which people delete and copy."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "sam3-edge" / "engines.key"


class EngineCache:
    """The engines of bundles, by the bundle's hash."""

    def __init__(self, folder: Path | None = None, key: Path | None = None) -> None:
        self.folder, self.key_path = folder or cache_folder(), key or key_file()

    def load(self, bundle_hash: str, machine: Machine) -> Built | None:
        """Engines of this bundle for this machine; None if there are none, or none that are still of use.

        Raises `CheckError` for engines that this installation did not write, or that were changed since.
        """
        place = self.folder / bundle_hash
        if not self.key_path.exists() or not (place / RECORD).exists():
            return None  # a lost key makes all engines strangers: they are built again
        check_owner(place, (RECORD,))
        record = self.signed(place)
        wanted = {"bundle": bundle_hash, "machine": asdict(machine)}
        if {name: record[name] for name in wanted} != wanted:
            return None
        files = {name: f"{name}.engine" for name in record["engines"]}
        check_owner(place, tuple(files.values()))
        engines = {name: (place / file).read_bytes() for name, file in files.items()}
        for name, data in engines.items():
            if not hmac.compare_digest(hashlib.sha256(data).hexdigest(), record["engines"][name]):
                raise refusal(place, f"{files[name]} is not what was built")
        return Built(engines, record["rung"], record["verdict"])

    def save(self, bundle_hash: str, machine: Machine, built: Built) -> None:
        """Keep engines, whole or not at all, in place of those that were there."""
        record = {
            "bundle": bundle_hash,
            "machine": asdict(machine),
            "rung": built.rung,
            "verdict": dict(built.verdict),
            "engines": {name: hashlib.sha256(data).hexdigest() for name, data in built.engines.items()},
        }
        key = self.key() or self.make_key()
        part = self.folder / f".{bundle_hash[:16]}.{secrets.token_hex(4)}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            part.mkdir(mode=0o700)
            for name, data in built.engines.items():
                write_private(part / f"{name}.engine", data)
            signed = {"record": record, "mac": sign(key, record)}
            write_private(part / RECORD, json.dumps(signed, indent=1).encode())
            self.forget(bundle_hash)
            os.rename(part, self.folder / bundle_hash)
        except OSError as error:
            raise unwritable(self.folder, error) from error
        finally:
            if part.exists():
                shutil.rmtree(part)

    def forget(self, bundle_hash: str) -> None:
        """Remove the engines of a bundle, if there are any."""
        place = self.folder / bundle_hash
        if place.is_symlink():
            place.unlink()
        elif place.exists():
            shutil.rmtree(place)

    def signed(self, place: Path) -> dict[str, Any]:
        """The record at `place`. Raises `CheckError` unless this installation signed it."""
        try:
            kept = json.loads((place / RECORD).read_bytes())
            record: dict[str, Any] = kept["record"]
            good = hmac.compare_digest(str(kept["mac"]), sign(self.key() or b"", record))
        except (ValueError, KeyError, TypeError) as error:
            raise refusal(place, f"{RECORD} is not readable ({error})") from error
        if not good:
            raise refusal(place, f"{RECORD} was not signed here")
        return record

    def key(self) -> bytes | None:
        """The key; None if there is none yet, or no whole one."""
        if not self.key_path.exists():
            return None
        check_owner(self.key_path.parent, (self.key_path.name,))
        key = self.key_path.read_bytes()
        if len(key) != KEY_BYTES:
            raise CheckError(
                f"{self.key_path} has {len(key)} bytes, want {KEY_BYTES}: remove it and build again"
            )
        return key

    def make_key(self) -> bytes:
        """A new key, in a file that nobody had before."""
        key = secrets.token_bytes(KEY_BYTES)
        self.key_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(self.key_path, key)
        return key


def sign(key: bytes, record: Mapping[str, Any]) -> str:
    """HMAC-SHA256 of a record in one spelling."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":")).encode()
    return hmac.new(key, text, hashlib.sha256).hexdigest()


def write_private(path: Path, data: bytes) -> None:
    """Write a file that did not exist, for its owner only."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    with open(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)


def check_owner(folder: Path, names: tuple[str, ...]) -> None:
    """Raises `CheckError` for a link, and for what others own or may write."""
    for path in (folder, *(folder / name for name in names)):
        try:
            facts = path.lstat()
        except OSError as error:
            raise refusal(folder, f"{path.name}: {error.strerror}") from error
        mine = not hasattr(os, "getuid") or facts.st_uid == os.getuid()
        if path.is_symlink() or not mine or facts.st_mode & 0o022:
            raise refusal(folder, f"{path.name} is a link, or others may write it")


def unwritable(folder: Path, error: OSError) -> UsageError:
    """Why nothing can be kept, and what to do."""
    return UsageError(f"engine cache {folder} cannot be written ({error.strerror}): set XDG_CACHE_HOME")


def refusal(place: Path, fact: str) -> CheckError:
    """Why engines are not loaded, and what to do."""
    return CheckError(
        f"engine cache {place}: {fact}: it is not loaded; look where it came from, and then build again with "
        "`sam3-edge build BUNDLE --overwrite`"
    )
