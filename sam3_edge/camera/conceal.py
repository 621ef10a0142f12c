"""Taking secrets out of this process's own command line, which every user of the machine can read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

START, END = 48 - 3, 49 - 3  # fields of /proc/self/stat (proc(5)), counted from the one behind the name


def secrets_of(words: Iterable[str]) -> list[str]:
    """What is secret in addresses: `user:password`, and what a URL asks."""
    found: list[str] = []
    for word in words:
        try:
            parts = urlsplit(word)
        except ValueError:
            continue
        if parts.scheme and "://" in word:
            found += [part for part in (parts.netloc.rpartition("@")[0], parts.query) if part]
    return found


def conceal(words: Iterable[str]) -> bool:
    """Put stars over what is secret in `words`, if they stand on the command line; whether that worked.

    Linux keeps the words in the process's own memory, so they can be written over. For the moment from the
    start until then they can be read: a file or the environment does not have that moment.
    """
    secrets = sorted(secrets_of(words), key=len, reverse=True)
    if not secrets:
        return True
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = int(fields[START]), int(fields[END])
        with open("/proc/self/mem", "r+b", buffering=0) as memory:
            memory.seek(start)
            line = memory.read(end - start)
            for secret in secrets:
                line = line.replace(secret.encode(), b"*" * len(secret.encode()))
            memory.seek(start)
            memory.write(line)
    except (OSError, ValueError, IndexError):
        return False
    return True
