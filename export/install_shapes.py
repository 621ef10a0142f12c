"""Make the built-in model of trained weights: `python -m sam3_edge.export.install_shapes WEIGHTS`."""

from __future__ import annotations

from pathlib import Path

import click

from sam3_edge.builtin import builtin_checkpoint

from .checkpoint import load, save
from .pipeline import Job, export

MOST_BYTES = 7_000_000  # of the weights and of the bundle each: both ship in the wheel


@click.command()
@click.argument("weights", type=click.Path(exists=True, path_type=Path))
def main(weights: Path) -> None:
    """Store WEIGHTS, and the merges.txt beside them, with the code and export the bundle that ships."""
    place = builtin_checkpoint()
    merges = weights.with_name("merges.txt")
    model = load(weights, tokenizer=merges).model
    (place / "merges.txt").write_bytes(merges.read_bytes())
    save(model, place / "model.safetensors", half=True)
    bundle, parity = export(Job(output=place.parent / "shapes", target="onnx", scheme="fp16", overwrite=True))
    for path in (place, bundle.path):
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        click.echo(f"{path.name}: {size / 1e6:.2f} MB")
        if size > MOST_BYTES:
            raise click.ClickException(f"{path.name} has {size} bytes, more than {MOST_BYTES}")
    click.echo(f"parity: {parity.answers.to_json()}")


if __name__ == "__main__":
    main()
