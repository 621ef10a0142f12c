"""Where a report goes: a folder of files, and standard output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sam3_edge import console
from sam3_edge.errors import UsageError
from sam3_edge.timing import tables
from sam3_edge.timing.page import page
from sam3_edge.timing.report import dumped
from sam3_edge.writing import write_file

REPORT, PAGE, ROW = "report.json", "report.html", "row.md"


def refuse(folder: Path, *, overwrite: bool) -> None:
    """Raises `UsageError`, before minutes of measuring, if there is a report already."""
    if (folder / REPORT).exists() and not overwrite:
        raise UsageError(f"{folder / REPORT} exists: pass --overwrite or another -o")


def write(document: dict[str, Any], folder: Path, *, overwrite: bool) -> None:
    """All files of a report."""
    write_file(folder / REPORT, dumped(document).encode(), overwrite=overwrite)
    write_file(folder / PAGE, page(document).encode(), overwrite=overwrite)
    write_file(folder / ROW, tables.markdown(document).encode(), overwrite=overwrite)


def tell(document: dict[str, Any], form: str) -> None:
    """The report on standard output: `table`, `md`, `csv` or `json`."""
    if form == "json":
        console.emit(document)
    elif form == "md":
        click.echo(tables.markdown(document), nl=False)
    elif form == "csv":
        click.echo(tables.comma_separated(document), nl=False)
    else:
        tables.show(document)
