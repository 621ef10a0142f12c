"""Where a camera is: an address without its secrets, and the secrets apart, which nobody prints."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from sam3_edge.errors import SourceError, UsageError

Kind = Literal["csi", "v4l2", "rtsp", "http", "gst", "video"]
LIVE = ("csi", "v4l2", "rtsp", "http", "gst")
SCHEMES: Mapping[str, Kind] = {
    "csi": "csi",
    "v4l2": "v4l2",
    "rtsp": "rtsp",
    "rtsps": "rtsp",
    "http": "http",
    "https": "http",
    "gst": "gst",
}
VARIABLE = "SAM3_EDGE_CREDENTIALS"
HIDDEN = "***"
SHORTEST = 4  # characters of a secret that is looked for in texts: a shorter one is a part of any word


@dataclass(frozen=True)
class Secret:
    """A name and a password. Neither is shown by `str` or `repr`."""

    user: str = field(repr=False)
    password: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Secret:
        """`user:password`, as they are. Raises `UsageError`."""
        user, colon, password = text.strip().partition(":")
        if not user or not colon:
            raise UsageError("credentials: want user:password on one line")
        return cls(user, password)


@dataclass(frozen=True)
class Address:
    """A source. `place`: a device, a sensor's number, a path, or a URL that has neither user nor password."""

    kind: Kind
    place: str = field(repr=False)
    secret: Secret | None = field(default=None, repr=False)

    @property
    def live(self) -> bool:
        """Whether frames that nobody takes are lost."""
        return self.kind in LIVE

    @property
    def url(self) -> str:
        """The place with everything in it: for a child's standard input, never for a command line."""
        if self.secret is None:
            return self.place
        parts = urlsplit(self.place)
        user = f"{quote(self.secret.user, safe='')}:{quote(self.secret.password, safe='')}"
        return urlunsplit(parts._replace(netloc=f"{user}@{parts.netloc}"))

    def __str__(self) -> str:
        """For people. What a URL asks (`?key=...`) may be a secret too, and is left out."""
        if self.kind not in ("rtsp", "http"):
            scheme = "" if self.kind == "video" or self.place.startswith("/dev/") else f"{self.kind}://"
            return scheme + self.place
        parts = urlsplit(self.place)
        return urlunsplit(parts._replace(query=HIDDEN if parts.query else "", fragment=""))

    def scrub(self, text: str) -> str:
        """A text that may quote this address, without what is secret in it."""
        text = text.replace(self.url, str(self)).replace(self.place, str(self))
        query = urlsplit(self.place).query if self.kind in ("rtsp", "http") else ""
        words = [query, *(() if self.secret is None else (self.secret.password, self.secret.user))]
        for word in words:
            for spelled in {word, quote(word, safe=""), quote(word)}:
                if len(spelled) >= SHORTEST:
                    text = text.replace(spelled, HIDDEN)
        return text


def is_address(text: str) -> bool:
    """Whether a source is a camera by its name, and not a file, a folder or `-`."""
    scheme, mark, _ = text.partition("://")
    return bool(mark and scheme.lower() in SCHEMES) or text.startswith("/dev/video")


def parse_address(text: str, secret: Secret | None = None) -> Address:
    """A source as it is written on a command line. `secret` stands for one that is not in it.

    `csi://0`, `/dev/video0`, `v4l2://0`, `v4l2:///dev/video0`, `rtsp://...`, `http(s)://...` (MJPEG, or any
    stream), `gst://` and a GStreamer pipeline that ends in raw pictures; anything else is a file, a folder
    or `-`. Raises `UsageError` for an address that cannot be.
    """
    if text.startswith("/dev/video"):
        return Address("v4l2", text)
    scheme, mark, rest = text.partition("://")
    kind = SCHEMES.get(scheme.lower()) if mark else None
    if kind is None:
        if mark and "/" not in scheme:
            raise UsageError(f"source {scheme}://: choose from {', '.join(f'{s}://' for s in SCHEMES)}")
        return Address("video", text)
    if not rest:
        raise UsageError(f"source {text}: nothing follows it; want such as csi://0 or rtsp://camera/stream")
    if kind == "v4l2":
        return Address(kind, f"/dev/video{rest}" if rest.isdecimal() else rest)
    if kind == "csi" and not rest.isdecimal():
        raise UsageError(f"source {text}: want the sensor's number, such as csi://0")
    return split_url(kind, text, secret) if kind in ("rtsp", "http") else Address(kind, rest)


def split_url(kind: Kind, text: str, secret: Secret | None) -> Address:
    """A URL, and the secret that was in it. Raises `UsageError`; the message does not quote the URL."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"source {kind}://...: not a URL ({str(error).partition(':')[0]})") from None
    if not host or any(letter.isspace() or not letter.isprintable() for letter in text):
        raise UsageError(f"source {kind}://...: want {kind}://host/path, without spaces")
    if parts.username:
        secret = Secret(unquote(parts.username), unquote(parts.password or ""))
    return Address(kind, urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])), secret)


def read_secret(path: Path | None) -> Secret | None:
    """`user:password` from a file that only its owner may read, or from SAM3_EDGE_CREDENTIALS.

    Raises `SourceError` for a file that cannot be read, `UsageError` for one that others can read.
    """
    if path is None:
        text = os.environ.get(VARIABLE)
        return None if not text else Secret.parse(text)
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise UsageError(f"{path} can be read by others: chmod 600 {path}")
        return Secret.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} cannot be read ({error}): want a file with user:password") from error
