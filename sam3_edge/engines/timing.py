"""What TensorRT timed on this machine, kept between builds: the next one need not time it again."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from dataclasses import asdict
from typing import Any

from sam3_edge.engines.cache import EngineCache, Machine, check_owner, sign, unwritable, write_private
from sam3_edge.errors import CheckError

FILE = "timing.cache"


class Timings:
    """The timing cache of one machine, in a file beside the engines. Not needed, only faster."""

    def __init__(self, cache: EngineCache, machine: Machine) -> None:
        self.cache, self.machine = cache, machine
        self.path = cache.folder / FILE

    def read(self) -> bytes:
        """What was kept; nothing if it is damaged, of another machine or TensorRT, or was not written here.

        The library reads it with its own code, so it is signed as engines are.
        """
        key = self.cache.key()
        if key is None or not self.path.exists():
            return b""
        try:
            check_owner(self.path.parent, (self.path.name,))
            head, _, data = self.path.read_bytes().partition(b"\n")
            good = hmac.compare_digest(str(json.loads(head)["mac"]), sign(key, self.record(data)))
        except (CheckError, OSError, ValueError, KeyError, TypeError):
            return b""
        return data if good else b""

    def write(self, data: bytes) -> None:
        """Keep it, in the place of what was there. Raises `UsageError` where nothing can be written."""
        key = self.cache.key() or self.cache.make_key()
        head = json.dumps({"mac": sign(key, self.record(data))}).encode()
        part = self.path.with_name(f".{FILE}.{secrets.token_hex(4)}")
        try:
            self.cache.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_private(part, head + b"\n" + data)
            os.replace(part, self.path)
        except OSError as error:
            raise unwritable(self.cache.folder, error) from error
        finally:
            part.unlink(missing_ok=True)

    def record(self, data: bytes) -> dict[str, Any]:
        """What is signed: the machine too, so that another's is not read."""
        return {"machine": asdict(self.machine), "timing": hashlib.sha256(data).hexdigest()}
