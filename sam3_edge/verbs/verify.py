"""Verb `verify`."""

from __future__ import annotations

from pathlib import Path

import click

from sam3_edge.verbs.options import FOLDER, as_json


@click.command("verify")
@click.argument("bundle", type=FOLDER)
@click.option("--expect", metavar="HEX", help="The bundle's hash as you got it by another way.")
@click.option(
    "--replay",
    is_flag=True,
    help="Also ask the golden questions and follow the golden clip, on this machine.",
)
@as_json
def command(bundle: Path, expect: str | None, replay: bool, json_: bool) -> None:
    """Hash every file of BUNDLE; with --expect answer tampering, without it accidents."""
    from sam3_edge import bundle as bundles
    from sam3_edge import console, doctor, load

    total = bundles.Bundle.open(bundle).to_json()["bytes"]
    with console.progress("verify", total) as advance:
        checked = bundles.verify(bundle, expect, advance=advance)
    report = {
        "bundle": str(bundle),
        "hash": checked.hash,
        "files": len(checked.files),
        "expected": expect is not None,
    }
    if replay:
        with load(bundle) as segmenter:
            agreements = doctor.ask_again(segmenter, checked)
        for name, agreement in agreements.items():
            report[name] = agreement.to_json()
            console.note(f"golden {name}: all {agreement.objects} objects found again on this machine")
    if json_:
        console.emit(report)
    else:
        click.echo(f"{checked.hash}  {bundle}")
