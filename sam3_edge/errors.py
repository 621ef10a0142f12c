"""Every error the package raises on purpose: it names the thing, the fact and the remedy.

The command line turns each class into its documented exit code; anything else is a bug (exit code 1).
"""

from __future__ import annotations


class EdgeError(Exception):
    """Base of all deliberate errors. `exit_code` is what the command line returns for it."""

    exit_code = 1


class UsageError(EdgeError):
    """The request itself is wrong: an empty phrase, an inverted box, an output that exists already."""

    exit_code = 2


class SourceError(EdgeError):
    """Something to read is missing or unreadable: a picture, a checkpoint, a hub repository."""

    exit_code = 3


class BackendError(EdgeError):
    """A backend or an optional dependency is missing, or does not work on this machine."""

    exit_code = 4


class CheckError(EdgeError):
    """A check failed: parity, a hash, a bundle's layout, a checkpoint's tensors."""

    exit_code = 5


class ResourceError(EdgeError):
    """Out of disk or memory. What was half-written has been removed."""

    exit_code = 6
