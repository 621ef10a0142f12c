"""A pickled PyTorch checkpoint to safetensors, in a process of its own.

That process is `python -m sam3_edge.export.weights_pt IN.pt OUT.safetensors`.
A pickle can ask for any code; `weights_only` refuses that, and whatever gets past it dies with this process.
"""

from __future__ import annotations

import errno
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from sam3_edge.errors import CheckError, EdgeError, ResourceError, SourceError

FAILURES = {error.exit_code: error for error in (SourceError, CheckError, ResourceError)}


def convert(source: Path, destination: Path) -> None:
    """Rewrite a pickled checkpoint as safetensors, from another process.

    Raises `SourceError` for a file that is no checkpoint or not safe to read, `CheckError` for one with
    something else than tensors in it, `ResourceError` if memory or disk run out.
    """
    command = [sys.executable, "-m", __spec__.name, str(source), str(destination)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"{source}: killed; free some memory"])[-1]
        # A negative code is a signal, and the one that comes unasked is the out-of-memory killer's.
        raise FAILURES.get(done.returncode, ResourceError if done.returncode < 0 else SourceError)(last)


def read_tensors(source: Path) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint, which may stand under "model"."""
    try:
        content = torch.load(source, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError as error:
        raise SourceError(f"{source}: no such file") from error
    except pickle.UnpicklingError as error:
        raise SourceError(
            f"{source}: holds more than weights, which is not safe to read; want sam3.pt"
        ) from error
    except (RuntimeError, OSError, EOFError) as error:
        raise SourceError(f"{source}: not a PyTorch checkpoint; download it again") from error
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        content = content["model"]
    return check_tensors(content, source)


def check_tensors(content: Any, source: Path) -> dict[str, torch.Tensor]:
    """Tensors by name, laid out as safetensors wants them. Raises `CheckError` for anything else."""
    if not isinstance(content, dict) or not content:
        raise CheckError(f"{source}: holds no tensors by name; want sam3.pt or what was fine-tuned from it")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise CheckError(f"{source}: {name!r} is {type(value).__name__}, want a tensor; want sam3.pt")
    return {name: value.contiguous() for name, value in content.items()}


def main(source: Path, destination: Path) -> None:
    """What the other process does."""
    tensors = read_tensors(source)
    try:
        save_file(tensors, destination)
    except RuntimeError as error:
        raise CheckError(f"{source}: two tensors share their memory ({error})") from error
    except (OSError, SafetensorError) as error:
        full = isinstance(error, SafetensorError) or error.errno in (errno.ENOSPC, errno.EDQUOT)
        fact = "no space for the weights: free some or set TMPDIR" if full else str(error)
        raise (ResourceError if full else SourceError)(f"{destination.parent}: {fact}") from error


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except EdgeError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        sys.exit(error.exit_code)
