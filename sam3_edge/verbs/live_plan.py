"""What the command line asks of a live run: sources, a plan, and where it is served."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sam3_edge.camera.address import parse_address, read_secret
from sam3_edge.camera.capture import Source
from sam3_edge.camera.guard import is_loopback
from sam3_edge.camera.live import LivePlan
from sam3_edge.camera.program import Wish, program_for
from sam3_edge.camera.recorder import KINDS, Recording
from sam3_edge.camera.web import Serving
from sam3_edge.errors import SourceError, UsageError
from sam3_edge.loop.settings import Settings
from sam3_edge.verbs.video import size_of

TOKEN = "SAM3_EDGE_TOKEN"
SHORTEST = 16  # characters of a token


def serving_of(
    *,
    host: str | None,
    port: int | None,
    token_file: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    **_: Any,
) -> Serving:
    """Where the web view listens. On loopback a token is asked for only where one was given."""

    host = host or "127.0.0.1"
    token = os.environ.get(TOKEN)
    if token_file is not None:
        try:
            token = token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(f"{token_file} cannot be read ({error}): want a file with a token") from error
    if token is not None and len(token) < SHORTEST:
        raise UsageError(f"the token has {len(token)} characters: want at least {SHORTEST}")
    if tls_key is not None and tls_cert is None:
        raise UsageError("--tls-key without --tls-cert: give both")
    new = token is None and not is_loopback(host)
    token = secrets.token_urlsafe(24) if new else token
    return Serving(host, 7860 if port is None else port, token, tls_cert, tls_key, shown=new)


def sources_of(
    sources: Sequence[str],
    *,
    size: str | None,
    fps: float | None,
    credentials: Path | None,
    codec: str | None,
    reader: str | None,
    flip: str | None,
    loop: bool,
    **_: Any,
) -> list[Source]:
    """The sources as they are to be read."""

    secret = read_secret(credentials)
    wish = Wish(size_of(size), fps, codec)
    found = []
    for text in sources:
        address = parse_address(text, secret)
        if address.live:
            program_for(address, wish, reader)  # what cannot be is told before anything starts
        elif address.place != "-" and not Path(address.place).exists():
            raise SourceError(f"{address}: no such file or folder")
        own = wish if address.live or address.place == "-" else replace(wish, size=None)
        found.append(Source(address, own, reader, flip, loop and not address.live))
    return found


def plan_of(
    *,
    prompt: tuple[str, ...],
    threshold: float,
    max_objects: int | None,
    detect_every: int | None,
    on_reconnect: str | None,
    max_age: float | None,
    save: str | None,
    snapshot_on: str | None,
    rotate_mb: int | None,
    keep_files: int | None,
    push: str | None,
    credentials: Path | None,
    duration: float | None,
    max_memory: int | None,
    health: Path | None,
    output: Path,
    **_: Any,
) -> LivePlan:
    """The plan that the command line describes."""

    if save not in (None, "json", "none"):
        raise UsageError(f"--save {save!r} of a live run: json or none; --snapshot-on for pictures")
    events = frozenset(kind.strip() for kind in (snapshot_on or "").split(",") if kind.strip())
    if unknown := sorted(events - set(KINDS)):
        raise UsageError(f"--snapshot-on {unknown[0]!r}: choose from {', '.join(KINDS)}")
    recording = None
    if save != "none" or events:
        recording = Recording(output, save != "none", (rotate_mb or 64) << 20, keep_files or 16, events)
    target = None if push is None else parse_address(push)
    if target is not None and target.kind != "http":
        raise UsageError("--push: want an address that begins with http:// or https://")
    return LivePlan(
        phrases=tuple(dict.fromkeys(prompt)),
        settings=Settings(detection=threshold, max_objects=max_objects or 64, detect_every=detect_every or 1),
        reset=on_reconnect == "reset",
        most_age=max_age,
        recording=recording,
        push=target,
        duration=duration,
        most_memory=None if max_memory is None else max_memory << 20,
        health=health,
    )
