"""Verb `inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sam3_edge.verbs.options import FOLDER, as_json

if TYPE_CHECKING:
    from sam3_edge.engines.fit import Fit


@click.command("inspect")
@click.argument("bundle", type=FOLDER)
@click.option(
    "--fit", metavar="SIZE", help="Does it fit a device with so much free memory, say 8GB? For tensorrt."
)
@as_json
def command(bundle: Path, fit: str | None, json_: bool) -> None:
    """Show what BUNDLE is: graphs, sizes, provenance, receipt. Exit code 6 if it does not --fit."""
    from sam3_edge import bundle as bundles
    from sam3_edge import console
    from sam3_edge.engines import fit as fits

    free = None if fit is None else fits.parse_size(fit)
    opened = bundles.Bundle.open(bundle)
    need = None if free is None else fits.fit_of(opened)
    if json_:
        console.emit(opened.to_json() | ({"needs": need.to_json()} if need else {}))
    else:
        console.show_bundle(opened)
        if need is not None:
            show_need(need)
    if free is not None:
        fits.check_fits(opened, free)


def show_need(need: Fit) -> None:
    """Megabytes of every graph, and of all of them."""
    from sam3_edge import console

    rows = [
        (n.graph, *(f"{size / 1e6:.1f}" for size in (n.weights, n.edges, n.activations))) for n in need.needs
    ]
    columns = ("graph", "weights MB", "inputs and outputs MB", "while it runs MB")
    console.table("Memory", columns, rows, out=True)
    click.echo(f"needs {need.building / 1e9:.2f} GB to build, {need.running / 1e9:.2f} GB to run")
