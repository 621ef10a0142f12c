"""The weights of a Core ML package, compressed by coremltools where an operation multiplies with them.

Chosen one by one: left to itself coremltools also takes rotary tables and positions, and with a scale for
each channel it leaves what it then skips divided by that scale (coremltools issue 2777).
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sam3_edge import registry
from sam3_edge.errors import UsageError

from .keep import Keep
from .tally import Tally

# The argument that holds the weight of each operation.
WEIGHTED = {"linear": "weight", "conv": "weight", "conv_transpose": "weight", "gather": "x"}
LEAST = 2048  # numbers: what is smaller costs as much in palettes as it saves
AFFIXES = re.compile(r"^p_|(_weight)?(_promoted)?(_to_fp16)?$")  # of parameters, as torch.export names them
GROUPED = 9  # the specification of iOS 18: the first with a palette, or a scale, for each group
COMPRESSED = "constexpr_"


def compress_package(
    package: Path, keep: Keep, way: Callable[[Any, Any], Any], settings: Any, *, grouped: bool
) -> Tally:
    """Rewrite a package in place, by one of coremltools' ways with `settings` for each weight.

    Raises `UsageError` for groups in a package that older systems are to read.
    """
    if row := keep.of(f"{package.parent.name}/"):
        tally = Tally()
        tally.keep(row.reason)  # the whole graph; coremltools takes no package of several functions
        return tally
    coremltools = registry.load_module("export", "coreml_tools").coremltools
    model = coremltools.models.MLModel(str(package), skip_model_load=True)
    if grouped and model.get_spec().specificationVersion < GROUPED:
        raise UsageError(
            f"{package.parent.name}: a palette or scale for each group needs iOS 18: export --ios 18, or use "
            "palette8, linear8 or palette6 with --set group=0"
        )
    chosen, tally = choose(model, package.parent.name, keep)
    if not chosen:
        return tally
    coreml = optimizer()
    config = coreml.OptimizationConfig(op_name_configs=dict.fromkeys(chosen, settings))
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):  # its progress bars
        warnings.simplefilter("ignore")
        way(model, config).save(str(package))
    registry.load_module("export", "coreml_package").normalise(package)
    count(package, chosen, tally)
    return tally


def optimizer() -> Any:
    """coremltools' compression."""
    from coremltools.optimize import coreml

    return coreml


def choose(model: Any, graph: str, keep: Keep) -> tuple[dict[str, str], Tally]:
    """The weights to compress, each with its operation, and those that are not."""
    tally, chosen = Tally(), {}
    for name, weight in optimizer().get_weights_metadata(model, weight_threshold=1).items():
        kinds = {op.op_type for op in weight.child_ops}
        kind = next(iter(kinds))
        row = keep.of(f"{graph}/{AFFIXES.sub('', name)}")
        if len(kinds) > 1 or name not in {
            op.params_name_mapping.get(WEIGHTED.get(kind)) for op in weight.child_ops
        }:
            if weight.val.size >= LEAST:
                tally.keep("a table of positions or another constant")
        elif weight.val.size < LEAST:
            tally.keep(f"under {LEAST} numbers")
        elif row is not None:
            tally.keep(row.reason)
        else:
            chosen[name] = kind
    return chosen, tally


def count(package: Path, chosen: dict[str, str], tally: Tally) -> None:
    """What really is compressed, read back: coremltools skips without a word what groups do not divide."""
    function = registry.load_module("export", "mil_program").read_program(package).function()
    made = {operation.name for operation in function.operations if operation.kind.startswith(COMPRESSED)}
    done = Counter(kind for name, kind in chosen.items() if any(one.startswith(name) for one in made))
    tally.compressed += done
    if missing := len(chosen) - done.total():
        tally.kept["coremltools skipped it: its groups do not divide the channels"] += missing
