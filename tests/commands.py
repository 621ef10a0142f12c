"""The command line, called from a test: in this process, or in one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from sam3_edge import cli

ROOT = Path(__file__).parents[1]


class Done(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line on stderr."""
        assert self.err.count("\n") == 1 and self.err.startswith("error: "), self.err
        return self.err.removeprefix("error: ").rstrip("\n")

    @property
    def document(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)


Command = Callable[..., Done]


def in_process(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """`main` with these words, and what it wrote to the file descriptors."""

    def run(*words: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["sam3-edge", *map(str, words)])
        capfd.readouterr()
        code: Any = 0
        try:
            cli.main()
        except SystemExit as leaving:
            code = leaving.code
        return Done(code, *capfd.readouterr())

    return run


def sam3_edge(
    *words: str | Path, before: str = "", folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """The command line in an interpreter of its own; `before` is Python that runs in it first."""
    code = f"import sys; sys.argv[0] = 'sam3-edge'\n{before}\nfrom sam3_edge.cli import main\nmain()"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
        "COLUMNS": "200",
    }
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
        check=False,
    )
