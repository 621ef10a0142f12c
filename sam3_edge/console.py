"""What people see: results on stdout, everything else on stderr, no ornaments when nobody watches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from sam3_edge.bundle import Bundle


def terminal(*, out: bool = False) -> Console:
    """A console on stderr or stdout. Colours and bars on a terminal only; rich honours NO_COLOR."""
    from rich.console import Console

    return Console(stderr=not out, highlight=False, soft_wrap=True)


def note(text: str) -> None:
    """A line for people."""
    click.echo(text, err=True)


def emit(document: Any) -> None:
    """The one JSON document of `--json`."""
    click.echo(json.dumps(document, indent=2))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, out: bool = False) -> None:
    """A table for people, the first column left-aligned. `out`: it is a result, not a remark."""
    from rich.table import Table

    made = Table(title=title, title_justify="left", title_style="bold")
    for i, column in enumerate(columns):
        made.add_column(column, justify="right" if i else "left")
    for row in rows:
        made.add_row(*row)
    terminal(out=out).print(made)


@contextmanager
def progress(label: str, total: int | None, *, unit: str | None = None) -> Iterator[Any]:
    """A bar with the time left on a terminal, nothing elsewhere. Gives a function that advances by a number.

    `total` None: nobody knows. `unit`: what is counted, to be shown as so many a second.
    """
    from rich.progress import Progress, ProgressColumn, Task
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text("" if task.speed is None else f"{task.speed:.1f} {unit}/s")

    columns = [*Progress.get_default_columns(), *([Speed()] if unit else [])]
    with Progress(*columns, console=terminal(), transient=True, disable=not terminal().is_terminal) as bar:
        task = bar.add_task(label, total=total)
        yield lambda count: bar.advance(task, count)


@contextmanager
def status(label: str) -> Iterator[Any]:
    """A spinner on a terminal, a line per step elsewhere. Gives a function that says what is going on."""
    if not terminal().is_terminal:
        yield lambda text: note(f"{label}: {text}")
        return
    with terminal().status(label) as spinner:
        yield lambda text: spinner.update(f"{label}: {text}")


def show_bundle(bundle: Bundle) -> None:
    """What `inspect` prints for people."""
    facts = bundle.to_json()
    for name in ("path", "hash", "target", "scheme", "licence"):
        click.echo(f"{name:8} {facts[name]}")
    source = facts["source"]
    click.echo(f"{'source':8} {source['name']} {source['revision'] or ''} sha256 {source['sha256']}")
    side = facts["config"]["image_size"]
    click.echo(f"{'size':8} {facts['bytes'] / 1e6:.1f} MB in {facts['files']} files, {side} px")
    errors = facts["report"].get("relative_error", {})
    rows = [
        (name, f"{graph['bytes'] / 1e6:.2f}", f"{errors[name]:.1e}" if name in errors else "not measured")
        for name, graph in facts["graphs"].items()
    ]
    table("Graphs", ("graph", "MB", "relative error against PyTorch"), rows, out=True)
