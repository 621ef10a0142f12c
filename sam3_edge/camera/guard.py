"""Who may see and steer: a token, cookies made of it, the names that this server answers to, and rates."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import socket
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from urllib.parse import urlsplit

COOKIE = "sam3-edge"
PEERS = 1024  # addresses whose rates are remembered


@dataclass
class Bucket:
    """`burst` at once, and `rate` a second afterwards."""

    burst: float
    rate: float
    left: float = field(init=False)
    at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.left = self.burst

    def take(self) -> bool:
        """Whether one more is allowed."""
        now = time.monotonic()
        self.left, self.at = min(self.burst, self.left + (now - self.at) * self.rate), now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Guard:
    """The rules of a server. `token`: None where everybody on this machine may; `secure`: it speaks TLS."""

    def __init__(self, token: str | None, *, secure: bool = False) -> None:
        self.token, self.scheme = token, "https" if secure else "http"
        self.secure = secure
        self.names = own_names()
        self.peers: OrderedDict[str, Bucket] = OrderedDict()
        self.all = Bucket(30, 3)  # logins of everybody: guessing from many addresses is no faster

    def host(self, header: str | None) -> bool:
        """Whether a request names this machine or its number: not some other name that points here."""
        try:
            name = urlsplit(f"//{header}").hostname if header else None
        except ValueError:
            return False
        return name is not None and (name in self.names or is_number(name))

    def origin(self, header: str | None, host: str | None) -> bool:
        """Whether a page of this very server asks."""
        return header is not None and host is not None and header == f"{self.scheme}://{host}"

    def login(self, token: object, peer: str) -> str | None:
        """A cookie for the right token, None for another one, or for one too many."""
        bucket = self.peers.pop(peer, None) or Bucket(5, 0.2)
        self.peers[peer] = bucket
        if len(self.peers) > PEERS:
            self.peers.popitem(last=False)
        allowed = bucket.take() and self.all.take()
        right = isinstance(token, str) and same(token, self.token or "")
        if not (allowed and right and self.token):
            return None
        nonce = secrets.token_hex(16)
        return f"{nonce}.{self.sign(nonce)}"

    def knows(self, cookie: str | None) -> bool:
        """Whether a cookie was given by `login`, also before a restart with the same token."""
        if self.token is None:
            return True
        nonce, _, mark = (cookie or "")[:256].partition(".")
        return same(mark, self.sign(nonce))

    def sign(self, nonce: str) -> str:
        return hmac.new(
            (self.token or "").encode(), nonce.encode(errors="replace"), hashlib.sha256
        ).hexdigest()


def same(one: str, other: str) -> bool:
    """Equality in a time that does not depend on where they differ."""
    return hmac.compare_digest(one.encode(errors="replace"), other.encode(errors="replace"))


def own_names() -> frozenset[str]:
    """What this machine is called."""
    name = socket.gethostname().lower()
    return frozenset({"localhost", name, f"{name.partition('.')[0]}.local"})


def is_number(host: str) -> bool:
    """Whether a host is an address and not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host that a server listens on."""
    return host == "localhost" or (is_number(host) and ipaddress.ip_address(host).is_loopback)
