"""Verb `eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sam3_edge.errors import UsageError
from sam3_edge.verbs.options import COUNT, FOLDER, as_json, overwrite


@click.command("eval")
@click.argument("results", required=False, type=FOLDER)
@click.option(
    "--dataset",
    "words",
    multiple=True,
    required=True,
    metavar="NAME|PATH",
    help="shapes, shapes-clips, a COCO or SA-Co document (again for each annotator), or a DAVIS folder.",
)
@click.option("--reference", type=FOLDER, help="Results or a bundle to compare with, case by case.")
@click.option("--tag", "tags", multiple=True, help="Only this stratum beside all cases; may be repeated.")
@click.option("--pictures", type=FOLDER, help="Folder of the dataset's pictures, to ask a bundle.")
@click.option("--negatives", is_flag=True, help="COCO: also ask for the categories a picture has none of.")
@click.option(
    "--save-results", "save", type=FOLDER, help="Keep what the bundle answers: COCO or YT-VIS predictions."
)
@click.option("--emulate", is_flag=True, help="Run bundles as `export` measured them, on any machine.")
@click.option("--threads", type=COUNT, help="Processor threads.")
@click.option("-o", "--output", type=FOLDER, help="Also write the report to this file, as JSON.")
@overwrite
@as_json
def command(
    results: Path | None,
    words: tuple[str, ...],
    pictures: Path | None,
    negatives: bool,
    output: Path | None,
    overwrite: bool,
    json_: bool,
    **options: Any,
) -> None:
    """Judge RESULTS, a results file or a bundle (default: the built-in model), on a dataset."""
    import json

    from sam3_edge import console
    from sam3_edge.judge.datasets import open_dataset
    from sam3_edge.judge.evaluation import Job, judge, place_of
    from sam3_edge.writing import write_file

    if output is not None and output.exists() and not overwrite:
        raise UsageError(f"{output} exists: pass --overwrite or another -o")
    dataset = open_dataset(words, pictures=pictures, negatives=negatives)
    report = judge(Job(dataset, place_of(results), overwrite=overwrite, **options))
    if report.left_out:
        console.note(f"{report.left_out} cases of {report.dataset} are left out: their truth is not complete")
    if report.unasked:
        console.note(f"{report.unasked} objects of {report.results} answer what no case asks")
    if output is not None:
        write_file(output, (json.dumps(report.to_json(), indent=1) + "\n").encode(), overwrite=overwrite)
    if json_:
        console.emit(report.to_json())
    else:
        report.show()
