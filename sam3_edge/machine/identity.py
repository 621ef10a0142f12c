"""Which machine this is, and what runs on it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sam3_edge import __version__
from sam3_edge.machine.command import Say, say
from sam3_edge.machine.tree import Tree
from sam3_edge.machine.vectors import cpuinfo

PACKAGES = (
    "numpy",
    "Pillow",
    "onnxruntime",
    "onnxruntime-gpu",
    "tensorrt",
    "coremltools",
    "opencv-python",
    "torch",
)
L4T = re.compile(r"R(\d+)[^,]*,\s*REVISION:\s*([\d.]+)")
# NVIDIA's table of releases; what is not in it is told by its L4T alone.
JETPACKS = {
    "35.4.1": "5.1.2",
    "35.5.0": "5.1.3",
    "35.6.0": "5.1.4",
    "36.3.0": "6.0",
    "36.4.0": "6.1",
    "36.4.3": "6.2",
    "36.4.4": "6.2.1",
    "36.4.7": "6.2.1",
    "36.5.0": "6.2.2",
    "38.2.0": "7.0",
    "38.4.0": "7.1",
    "39.2.0": "7.2",
}


def identity(tree: Tree | None = None, *, command: Say = say) -> dict[str, Any]:
    """Names, sizes and versions; None for what the system does not tell."""
    tree = tree or Tree()
    return {
        "model": tree.text("/proc/device-tree/model") or product(tree) or apple(command),
        "soc": soc(tree) or processor(tree, command),
        "cores": os.cpu_count(),
        "memory_mb": memory(tree, command),
        "os": system(tree) or apple_system(command),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "l4t": l4t(tree),
        "jetpack": JETPACKS.get(l4t(tree) or ""),
        "power_mode": power_mode(tree, command),
        "container": container(tree),
        "virtual": virtual(tree),
        "python": platform.python_version(),
        "packages": packages(),
    }


def product(tree: Tree) -> str | None:
    """What the firmware of a PC or a cloud machine calls it."""
    maker, name = (tree.text(f"/sys/class/dmi/id/{key}") for key in ("sys_vendor", "product_name"))
    return " ".join(word for word in (maker, name) if word) or None


def soc(tree: Tree) -> str | None:
    """The most specific name of the chip in the device tree, which is the last: `nvidia,tegra234`."""
    names = (tree.text("/proc/device-tree/compatible") or "").split("\0")
    return names[-1] or None


def processor(tree: Tree | None = None, command: Say = say) -> str | None:
    """The processor's own name for itself, where the system tells."""
    return cpuinfo("model name", tree) or command(["sysctl", "-n", "machdep.cpu.brand_string"])


def apple(command: Say) -> str | None:
    """A Mac's model: `Mac15,6`."""
    return command(["sysctl", "-n", "hw.model"])


def apple_system(command: Say) -> str | None:
    """A Mac's system, with its build."""
    told = {line.partition(":")[0]: line.partition(":")[2].strip() for line in lines_of(command(["sw_vers"]))}
    return (
        " ".join(told[key] for key in ("ProductName", "ProductVersion", "BuildVersion") if key in told)
        or None
    )


def lines_of(text: str | None) -> list[str]:
    """Lines of what may not have been said."""
    return (text or "").splitlines()


def memory(tree: Tree, command: Say) -> int | None:
    """All memory, in MB."""
    for line in tree.lines("/proc/meminfo"):
        if line.startswith("MemTotal:"):
            return round(int(line.split()[1]) * 1024 / 1e6)
    told = command(["sysctl", "-n", "hw.memsize"])
    return round(int(told) / 1e6) if told and told.isdigit() else None


def system(tree: Tree) -> str | None:
    """The distribution's name and version."""
    for line in tree.lines("/etc/os-release"):
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"') or None
    return None


def l4t(tree: Tree) -> str | None:
    """Jetson Linux, as 36.4.3."""
    found = L4T.search(tree.text("/etc/nv_tegra_release") or "")
    return f"{found[1]}.{found[2]}" if found else None


def power_mode(tree: Tree, command: Say) -> dict[str, Any] | None:
    """nvpmodel's mode: its number, and its name as the board's table has it."""
    if not tree.exists("/etc/nvpmodel.conf"):
        return None
    kept = re.search(r"pmode:\s*(\d+)", tree.text("/var/lib/nvpmodel/status") or "")
    if kept is None:
        asked = lines_of(command(["nvpmodel", "-q"]))
        number = next((line.strip() for line in asked if line.strip().isdigit()), None)
    else:
        number = kept[1]
    if number is None:
        return None
    conf = tree.text("/etc/nvpmodel.conf") or ""
    named = dict(re.findall(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>", conf))
    return {"id": int(number), "name": named.get(str(int(number)))}


def container(tree: Tree) -> bool:
    """Whether this process knows itself in a container."""
    marks = ("/.dockerenv", "/run/.containerenv")
    inside = tree.text("/proc/1/cgroup") or ""
    return any(map(tree.exists, marks)) or any(
        word in inside for word in ("docker", "kubepods", "containerd")
    )


def virtual(tree: Tree) -> bool | None:
    """Whether the processor is shared with other machines; None where /proc/cpuinfo does not tell."""
    flags = cpuinfo("flags", tree).split()
    return "hypervisor" in flags if flags else None


def packages() -> dict[str, str]:
    """Versions of what is installed of that which matters."""
    found = {"sam3-edge": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """The commit of this checkout, with `-dirty` behind it after changes; None outside of one."""
    words = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(
            words, cwd=Path(__file__).resolve().parent, capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() or None
