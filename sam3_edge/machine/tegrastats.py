"""One line of NVIDIA's `tegrastats`: what it tells without root that files do not."""

from __future__ import annotations

import re
import subprocess
from typing import Any

COMMAND = ("tegrastats", "--interval", "200")
RAM = re.compile(r"RAM (\d+)/(\d+)MB")
LOAD = re.compile(r"\b(EMC_FREQ|GR3D_FREQ) (\d+)%(?:@\[?(\d+))?")
CORES = re.compile(r"CPU \[([^\]]*)\]")
DEGREES = re.compile(r"\b([\w-]+)@(-?[\d.]+)C\b")
RAILS = re.compile(r"\b((?:VDD|VIN)\w*) (\d+)mW")


def parse(line: str) -> dict[str, Any] | None:
    """Memory in MB, loads in percent with clocks in MHz, degrees, watts by rail; None for another line."""
    memory = RAM.search(line)
    if memory is None:
        return None
    cores = CORES.search(line)
    busy = [core.partition("%")[0] for core in cores[1].split(",")] if cores else []
    loads = {
        name: {"percent": int(percent), "mhz": int(mhz) if mhz else None}
        for name, percent, mhz in LOAD.findall(line)
    }
    return {
        "ram_mb": [int(memory[1]), int(memory[2])],
        "emc": loads.get("EMC_FREQ"),
        "gpu": loads.get("GR3D_FREQ"),
        "cpu_percent": [int(one) if one.isdecimal() else None for one in busy],
        "temperatures": {name: float(degrees) for name, degrees in DEGREES.findall(line)},
        "rails_w": {name: int(milliwatts) / 1000 for name, milliwatts in RAILS.findall(line)},
    }


def once(command: tuple[str, ...] = COMMAND) -> dict[str, Any] | None:
    """What it says now; None where there is no such program."""
    try:
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            process.terminate()
    except OSError:
        return None
    return parse(line)
