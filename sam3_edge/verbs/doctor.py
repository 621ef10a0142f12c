"""Verb `doctor`."""

from __future__ import annotations

import click

from sam3_edge.errors import BackendError
from sam3_edge.verbs.options import as_json


@click.command("doctor")
@click.option("--selftest", is_flag=True, help="Replay the built-in model's golden answers.")
@as_json
def command(selftest: bool, json_: bool) -> None:
    """Show what works on this machine, by running it."""
    from sam3_edge import console, doctor

    report = doctor.examine()
    works = any(backend["ok"] for backend in report["backends"].values())
    if selftest and works:
        report["selftest"] = doctor.selftest()
    if json_:
        console.emit(report)
    else:
        doctor.show(report)
    if not works:
        raise BackendError("no backend works here: pip install 'sam3-edge[onnx]' for the processor")
