"""What a Mac tells without root. Clocks, temperatures and watts it does not."""

from __future__ import annotations

import re
from typing import Any

from sam3_edge.machine.command import Say, say


def apple_state(command: Say = say) -> dict[str, Any] | None:
    """Limits that heat puts on the processor, low-power mode, and what it is fed from; None elsewhere."""
    therm = command(["pmset", "-g", "therm"])
    if therm is None:
        return None
    limits = {name: int(value) for name, value in re.findall(r"(CPU_\w+)\s*=\s*(\d+)", therm)}
    settings, fed = command(["pmset", "-g"]) or "", command(["pmset", "-g", "batt"]) or ""
    low, source = re.search(r"lowpowermode\s+(\d)", settings), re.search(r"drawing from '([^']+)'", fed)
    return {
        "speed_limit_percent": limits.get("CPU_Speed_Limit"),
        "available_cpus": limits.get("CPU_Available_CPUs"),
        "low_power_mode": None if low is None else low[1] == "1",
        "fed_from": None if source is None else source[1],
    }
