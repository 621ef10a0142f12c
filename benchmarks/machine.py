"""What a number was measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from typing import Any

from sam3_edge.machine.identity import commit, processor
from sam3_edge.machine.vectors import vectors


def facts(*packages: str) -> dict[str, Any]:
    """Processor, its vector instructions, memory, commit, and the versions of Python and of `packages`."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": processor() or platform.processor(),
        "vectors": vectors(),
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
        "commit": commit(),
    }
