"""Verb `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sam3_edge.errors import UsageError
from sam3_edge.verbs.benchmark import FORMATS, parse_objects, parse_size
from sam3_edge.verbs.options import COUNT, FOLDER, as_json, overwrite

if TYPE_CHECKING:
    from sam3_edge.timing.turns import Rounds


@click.command("compare")
@click.argument("places", nargs=-1, required=True, type=FOLDER, metavar="A B...")
@click.option("--quick", is_flag=True, help="A short look: 8 rounds of 8 frames.")
@click.option("--rounds", type=COUNT, help="How often each bundle has its turn. Default: 16.")
@click.option("--frames", type=COUNT, help="Of a turn. Default: 46.")
@click.option(
    "--objects", default="5", show_default=True, metavar="N,...|found", help="How many objects to follow."
)
@click.option("--prompt", "phrases", multiple=True, help="A phrase to look for.")
@click.option("--source", type=FOLDER, help="A video or a folder of pictures. Default: a generated clip.")
@click.option("--size", metavar="WxH", help="Of the generated clip's frames. Default: 1280x720.")
@click.option("--warmup", type=COUNT, help="Exactly so many frames. Default: until steady, 100 at most.")
@click.option("--dataset", "words", multiple=True, metavar="NAME|PATH", help="Also judge them, as eval does.")
@click.option("--threads", type=COUNT, help="Processor threads.")
@click.option("--device", help="cpu, cuda or trt, for onnx bundles.")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="On stdout."
)
@click.option(
    "-o",
    "--output",
    type=FOLDER,
    default=Path("comparison"),
    show_default=True,
    help="Folder for comparison.json and row.md.",
)
@overwrite
@as_json
def command(
    places: tuple[Path, ...],
    form: str,
    output: Path,
    overwrite: bool,
    json_: bool,
    **options: Any,
) -> None:
    """Compare bundles, measured here in turns, or reports of benchmark, each with an eval.json beside it.

    The first is what the others are compared with. Exit code 0 whatever the verdict is.
    """
    from sam3_edge.judge.evaluation import is_bundle
    from sam3_edge.timing import output as outputs
    from sam3_edge.timing.comparison_reports import compare_reports

    outputs.refuse(output, overwrite=overwrite, name=outputs.COMPARISON)
    bundles = [is_bundle(place) for place in places]
    if all(bundles):
        document = measured(places, **options)
    elif any(bundles):
        raise UsageError(
            f"{places[bundles.index(True)]} is a bundle, {places[bundles.index(False)]} is none: "
            "compare bundles with bundles, or reports with reports"
        )
    else:
        refuse_options()
        document = compare_reports(places)
    outputs.write_comparison(document, output, overwrite=overwrite)
    outputs.tell_comparison(document, "json" if json_ else form)


def refuse_options() -> None:
    """Raises `UsageError` for options that say how to measure, when reports are compared."""
    from click.core import ParameterSource

    context = click.get_current_context()
    free = {"places", "form", "output", "overwrite", "json_"}
    given = ParameterSource.COMMANDLINE
    for option in context.command.params:
        assert option.name is not None
        if option.name not in free and context.get_parameter_source(option.name) is given:
            raise UsageError(f"{option.opts[0]} is of bundles: reports have been measured; leave it out")


def measured(
    places: tuple[Path, ...],
    *,
    quick: bool,
    rounds: int | None,
    frames: int | None,
    objects: str,
    size: str | None,
    words: tuple[str, ...],
    **options: Any,
) -> dict[str, Any]:
    """The bundles, measured in turns."""
    from sam3_edge.judge.datasets import open_dataset
    from sam3_edge.timing.comparison import compare_bundles
    from sam3_edge.timing.running import Plan

    counts = None if options["phrases"] else parse_objects(objects)
    plans = [Plan(place, quick=quick, objects=counts, size=parse_size(size), **options) for place in places]
    dataset = open_dataset(words, pictures=None, negatives=False) if words else None
    return compare_bundles(plans, rounds_of(quick, rounds, frames), dataset)


def rounds_of(quick: bool, rounds: int | None, frames: int | None) -> Rounds:
    """What was asked for, and the default for the rest."""
    from sam3_edge.timing import turns

    usual = turns.QUICK if quick else turns.Rounds()
    return turns.Rounds(rounds or usual.rounds, frames or usual.frames)
