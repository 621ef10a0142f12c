"""Options and argument types that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

TARGET_ALIASES = {"trt": "tensorrt", "mlpackage": "coreml", "ort": "onnx"}
FOLDER = click.Path(path_type=Path)
COUNT = click.IntRange(min=1)

as_json = click.option("--json", "json_", is_flag=True, help="One JSON document on stdout.")
overwrite = click.option("--overwrite", is_flag=True, help="Replace what is there.")


class Named(click.Choice[str]):
    """A choice among plugins, with the other names people use for them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return str(super().convert(TARGET_ALIASES.get(str(value), value), param, ctx))
