"""NVIDIA GPUs that are not a Jetson's, by the driver's own library (package nvidia-ml-py)."""

from __future__ import annotations

import os
from typing import Any

# Bits of the driver's reasons why a clock is lower than it could be, those that speak of heat or power.
REASONS = {
    0x04: "software power cap",
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}


def library() -> Any | None:
    """The driver's library, started; None where there is no package, driver or GPU."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def gpus(nvml: Any | None) -> list[dict[str, Any]]:
    """What each GPU tells; None for what it does not. No GPU without a library."""
    if nvml is None:
        return []
    return [gpu(nvml, nvml.nvmlDeviceGetHandleByIndex(i)) for i in range(nvml.nvmlDeviceGetCount())]


def gpu(nvml: Any, handle: Any) -> dict[str, Any]:
    """One GPU."""

    def ask(name: str, *more: Any) -> Any:
        try:
            return getattr(nvml, name)(handle, *more)
        except (nvml.NVMLError, AttributeError):
            return None

    memory, power = ask("nvmlDeviceGetMemoryInfo"), ask("nvmlDeviceGetPowerUsage")
    reasons = ask("nvmlDeviceGetCurrentClocksThrottleReasons")
    running = ask("nvmlDeviceGetComputeRunningProcesses")
    mine = [one.usedGpuMemory for one in running or () if one.pid == os.getpid()]
    return {
        "name": words(ask("nvmlDeviceGetName")),
        "driver": words(nvml.nvmlSystemGetDriverVersion()),
        "memory_mb": None if memory is None else round(memory.total / 1e6),
        "used_mb": None if memory is None else round(memory.used / 1e6),
        "own_mb": round(mine[0] / 1e6) if mine and mine[0] is not None else None,
        "others": None if running is None else len(running) - len(mine),
        "sm_mhz": ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
        "memory_mhz": ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM),
        "celsius": ask("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
        "watts": None if power is None else power / 1000,
        "slowed": None if reasons is None else [text for bit, text in REASONS.items() if reasons & bit],
    }


def words(told: Any) -> str | None:
    """Older versions give bytes."""
    return told.decode() if isinstance(told, bytes) else told
