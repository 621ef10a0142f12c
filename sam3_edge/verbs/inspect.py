"""Verb `inspect`."""

from __future__ import annotations

from pathlib import Path

import click

from sam3_edge.verbs.options import FOLDER, as_json


@click.command("inspect")
@click.argument("bundle", type=FOLDER)
@as_json
def command(bundle: Path, json_: bool) -> None:
    """Show what BUNDLE is: graphs, sizes, provenance, receipt."""
    from sam3_edge import bundle as bundles
    from sam3_edge import console

    opened = bundles.Bundle.open(bundle)
    if json_:
        console.emit(opened.to_json())
    else:
        console.show_bundle(opened)
