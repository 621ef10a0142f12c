"""How a benchmark's command ends: the JSON it leaves, what missed its limits, and the exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from sam3_edge import console
from sam3_edge.errors import EdgeError
from sam3_edge.writing import write_file


@contextmanager
def errors_told() -> Iterator[None]:
    """What the toolkit raises, as the command line tells it: a line on stderr, and its exit code."""
    try:
        yield
    except EdgeError as error:
        console.note(str(error))
        raise SystemExit(error.exit_code) from error


def write_document(path: Path, document: dict[str, Any]) -> None:
    """Write the JSON of a run, or over it. Raises what `write_file` does."""
    write_file(path, (json.dumps(document, indent=1) + "\n").encode(), overwrite=True)


def finish(failures: Sequence[str]) -> NoReturn:
    """Say what missed its limits; exit 1 if anything did, else 0."""
    for failure in failures:
        console.note(failure)
    raise SystemExit(bool(failures))
