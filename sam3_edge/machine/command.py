"""What a program of the system says, if there is one; and what was typed, without its secrets."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence

Say = Callable[[Sequence[str]], "str | None"]
PATIENCE = 10.0  # seconds
HIDDEN = "***"
SECRET = re.compile(r"(?i)(token|key|secret|passw(or)?d|credential|auth)")
IN_URL = re.compile(r"(?<=://)[^/@\s]+(?=@)")
ASKED = re.compile(r"(?i)(?<=[?&])([\w-]*(?:token|key|secret|passw(?:or)?d|auth|sig)[\w-]*=)[^&\s]+")
FOLDERS = re.compile(
    r"^([\w-]+=)?/(?!dev/)(?:[^/]+/)+(?=[^/])"
)  # of an absolute path; /dev/video0 is a camera
HUB = re.compile(r"\bhf_[A-Za-z0-9]{8,}")


def say(command: Sequence[str]) -> str | None:
    """A command's standard output; None if it is not there, fails, or takes over ten seconds."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def redacted(words: Sequence[str]) -> list[str]:
    """A command line in which neither passwords nor the folders of a machine can be read: reports are shared.

    Of an absolute path the last name is kept. Hidden: what stands before the @ of a URL, what an option or a
    query is told whose name speaks of a token, key, secret, password or the like, and tokens of the hub.
    """
    out: list[str] = []
    for word in words:
        before = out[-1] if out else ""
        name, equals, _ = word.partition("=")
        if before.startswith("--") and "=" not in before and SECRET.search(before) and word[:1] != "-":
            out.append(HIDDEN)
        elif equals and SECRET.search(name) and "://" not in name:
            out.append(f"{name}={HIDDEN}")
        else:
            hidden = ASKED.sub(rf"\g<1>{HIDDEN}", IN_URL.sub(HIDDEN, word))
            out.append(HUB.sub(HIDDEN, FOLDERS.sub(r"\1", hidden)))
    return out
