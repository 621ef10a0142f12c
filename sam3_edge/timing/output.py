"""Where a report goes: a folder of files, and standard output."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from sam3_edge import console
from sam3_edge.errors import UsageError
from sam3_edge.timing import comparison_table, tables
from sam3_edge.timing.page import page
from sam3_edge.timing.report import dumped
from sam3_edge.writing import write_file

REPORT, PAGE, ROW, COMPARISON = "report.json", "report.html", "row.md", "comparison.json"


def refuse(folder: Path, *, overwrite: bool, name: str = REPORT) -> None:
    """Raises `UsageError`, before minutes of measuring, if there is a report already."""
    if (folder / name).exists() and not overwrite:
        raise UsageError(f"{folder / name} exists: pass --overwrite or another -o")


def write(document: dict[str, Any], folder: Path, *, overwrite: bool) -> None:
    """All files of a report."""
    write_file(folder / REPORT, dumped(document).encode(), overwrite=overwrite)
    write_file(folder / PAGE, page(document).encode(), overwrite=overwrite)
    write_file(folder / ROW, tables.markdown(document).encode(), overwrite=overwrite)


def write_comparison(document: dict[str, Any], folder: Path, *, overwrite: bool) -> None:
    """All files of a comparison."""
    rows = tables.as_markdown(comparison_table.COLUMNS, comparison_table.records(document), COMPARISON)
    write_file(folder / COMPARISON, dumped(document).encode(), overwrite=overwrite)
    write_file(folder / ROW, rows.encode(), overwrite=overwrite)


def tell(document: dict[str, Any], form: str) -> None:
    """The report on standard output: `table`, `md`, `csv` or `json`."""
    if form == "table":
        tables.show(document)
    else:
        tell_rows(document, form, tables.COLUMNS, tables.records(document), REPORT)


def tell_comparison(document: dict[str, Any], form: str) -> None:
    """As `tell`."""
    if form == "table":
        comparison_table.show(document)
    else:
        rows = comparison_table.records(document)
        tell_rows(document, form, comparison_table.COLUMNS, rows, COMPARISON)


def tell_rows(
    document: dict[str, Any], form: str, columns: Sequence[str], rows: Sequence[dict[str, str]], link: str
) -> None:
    """A document in the forms that programs read."""
    if form == "json":
        console.emit(document)
    elif form == "md":
        click.echo(tables.as_markdown(columns, rows, link), nl=False)
    else:
        click.echo(tables.as_csv(columns, rows), nl=False)
