"""Memory of this process and of the machine, in MB."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

STATM = Path("/proc/self/statm")
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes of ru_maxrss: macOS counts bytes, Linux KiB


def resident_mb() -> float | None:
    """Resident memory of this process now; None where the system does not tell."""
    try:
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        return None


def peak_mb() -> float:
    """The most that was resident in this process, ever."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT / 1e6
