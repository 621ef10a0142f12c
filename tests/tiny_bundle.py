"""A bundle of random bytes, small enough to break in every way."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam3_edge.bundle import Bundle
from sam3_edge.concepts import Tokens, Valid, write_concepts
from sam3_edge.errors import CheckError
from sam3_edge.manifest import GraphFile, Manifest, Source
from sam3_edge.spec import ModelConfig
from sam3_edge.staging import seal

CONFIG = ModelConfig(
    image_size=28,
    window=2,
    pretrain_size=28,
    trunk_dim=16,
    trunk_layers=2,
    global_layers=(1,),
    text_length=4,
    dim=8,
    queries=4,
    mask_queries=2,
    max_boxes=1,
    memory_layers=0,
)
MANIFEST = Manifest(
    source=Source("shapes", "1", "0" * 64),
    config=CONFIG,
    target="onnx",
    scheme="fp32",
    graphs={name: GraphFile(f"graphs/{name}/model.onnx") for name in ("backbone", "detector")},
    tools={"onnxruntime": "1.20"},
    report={"relative_error": 1e-6},
    licence="Apache-2.0",
)


def concepts(seed: int = 0) -> dict[str, tuple[Tokens, Valid]]:
    """Two phrases with random tokens."""
    random_bits = np.random.default_rng(seed)
    shape = (CONFIG.text_length, CONFIG.dim)
    return {
        phrase: (random_bits.standard_normal(shape).astype(np.float32), np.arange(CONFIG.text_length) < words)
        for words, phrase in enumerate(("rot: ein Kreis für alle", "blue square"), start=2)
    }


def fill(folder: Path, seed: int = 0) -> None:
    """Every kind of file that a bundle holds, unsealed."""
    generator = random.Random(seed)
    sizes = {
        "graphs/backbone/model.onnx": 300,
        "graphs/backbone/model.onnx.data": 900,
        "graphs/detector/model.onnx": 200,
        "tokenizer/merges.txt.gz": 120,
        "golden/picture.png": 64,
        "LICENSE": 40,
        "empty.txt": 0,
    }
    for name, size in sizes.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(generator.randbytes(size))
    (folder / "report.json").write_text('{"relative_error": 1e-06}\n')
    write_concepts(folder, concepts(seed))


def make(folder: Path, seed: int = 0) -> Bundle:
    """A sealed bundle at `folder`."""
    fill(folder, seed)
    seal(folder, MANIFEST)
    return Bundle.open(folder)


def snapshot(folder: Path) -> dict[str, bytes]:
    """Everything under a folder, hidden files and folders too."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"folder"
        for path in sorted(folder.rglob("*"))
    }


def reseal(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Change `bundle.json` and seal it again by hand, as a writer with other ideas would."""
    values = json.loads((folder / "bundle.json").read_bytes())
    edit(values)
    write_json(folder, json.dumps(values).encode())


def write_json(folder: Path, data: bytes) -> None:
    """Put any bytes in the place of `bundle.json`, with a seal that fits."""
    (folder / "bundle.json").write_bytes(data)
    (folder / "bundle.sha256").write_text(f"{hashlib.sha256(data).hexdigest()}  bundle.json\n")


def refused(folder: Path, *facts: str) -> None:
    """Opening fails with one line that names the bundle, the facts and a remedy."""
    with pytest.raises(CheckError) as caught:
        Bundle.open(folder)
    message = str(caught.value)
    assert message.startswith(f"bundle {folder}: ") and "\n" not in message
    assert all(fact in message for fact in (*facts, "again" if "upgrade" not in message else "upgrade"))
