"""Files in which a system tells numbers and names: /proc, /sys, /etc. Nothing in here ever fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Tree:
    """The files below `root`: `/`, or a copy of some of it."""

    root: Path = Path("/")

    def path(self, name: str) -> Path:
        """Where a file is. Absolute links, of which sysfs has none, would leave a copy."""
        return self.root / name.lstrip("/")

    def text(self, name: str) -> str | None:
        """A file's text without the blanks and zeros around it; None if it cannot be read or is empty."""
        try:
            raw = self.path(name).read_bytes()
        except OSError:
            return None
        return raw.decode(errors="replace").strip("\0 \n\t") or None

    def lines(self, name: str) -> list[str]:
        """A file's lines; none if it cannot be read."""
        return (self.text(name) or "").splitlines()

    def number(self, name: str, scale: float = 1.0) -> float | None:
        """A file's one number times `scale`; None if there is none."""
        try:
            return float(self.text(name) or "") * scale
        except ValueError:
            return None

    def find(self, pattern: str) -> Iterator[str]:
        """Names that match a pattern of `glob`, sorted."""
        try:
            found = sorted(self.root.glob(pattern.lstrip("/")))
        except OSError:
            return iter(())
        return (f"/{path.relative_to(self.root)}" for path in found)

    def exists(self, name: str) -> bool:
        """Whether there is such a file or folder."""
        return self.path(name).exists()
