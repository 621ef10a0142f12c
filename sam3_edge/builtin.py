"""The built-in bundle: a small trained model of generated shapes, so that everything runs offline."""

from __future__ import annotations

from pathlib import Path

from sam3_edge.errors import SourceError


def builtin_bundle() -> Path:
    """The directory of the `shapes` bundle. Raises `SourceError` if this installation lacks it."""
    path = Path(__file__).parent / "data" / "shapes"
    if not path.is_dir():
        raise SourceError(
            f"the built-in bundle is not at {path}: install sam3-edge again, or name a bundle of your own"
        )
    return path


def builtin_checkpoint() -> Path:
    """The weights and tokenizer that the built-in bundle is made from."""
    return Path(__file__).parent / "data" / "shapes_model"
