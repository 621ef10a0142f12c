"""The teacher's trunk features of pictures that it has seen, on disk: SAM 3 costs 70 times a student.

One file for a picture, in fp16, in a folder for the teacher and one for the first byte of the picture's
hash: 10.6 MB each for SAM 3. Files grow in number while passes run; any run of the same teacher reads them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sam3_edge.errors import CheckError, ResourceError


class FeatureCache:
    """Features by picture, of the teacher with this hash."""

    def __init__(self, folder: Path, teacher: str) -> None:
        self.folder = folder / teacher

    def features(self, pictures: Tensor, make: Callable[[Tensor], Tensor]) -> Tensor:
        """Of pictures [P, 3, H, H]: [P, G * G, C], rounded to fp16 also where `make` has just made them."""
        places = [self.place(picture) for picture in pictures]
        if lacking := [n for n, place in enumerate(places) if not place.exists()]:
            for n, made in zip(lacking, make(pictures[lacking]), strict=True):
                write(places[n], made)
        return torch.stack([read(place) for place in places]).to(pictures.device)

    def place(self, picture: Tensor) -> Path:
        """Where the features of a picture [3, H, H] stand: by its size and every value."""
        digest = hashlib.sha256(f"{tuple(picture.shape)}".encode())
        digest.update(picture.cpu().contiguous().numpy().tobytes())
        return self.folder / digest.hexdigest()[:2] / f"{digest.hexdigest()}.npy"


def write(place: Path, made: Tensor) -> None:
    """Write one file, whole or not at all. Raises `CheckError` beyond fp16, `ResourceError` if it cannot."""
    values = made.cpu().float().numpy()
    if not np.abs(values).max() <= np.finfo(np.float16).max:
        raise CheckError("a trunk feature of the teacher is beyond fp16: distil without `cache`")
    part = place.with_suffix(f".{os.getpid()}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            np.save(file, values.astype(np.float16))
        part.replace(place)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ResourceError(f"{place} cannot be written: {error}; free some space") from error


def read(place: Path) -> Tensor:
    """Read one file. Raises `CheckError` for one that is damaged."""
    try:
        return torch.from_numpy(np.load(place, allow_pickle=False).astype(np.float32))
    except (OSError, ValueError) as error:
        raise CheckError(f"{place} is damaged ({error}): remove it, and it is made again") from error
