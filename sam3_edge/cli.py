"""The command line: one function per verb. Everything heavy is imported inside the verb that needs it."""

from __future__ import annotations

import difflib
import sys
import time
from pathlib import Path
from typing import Any

import click

from sam3_edge import __version__, registry
from sam3_edge.errors import BackendError, CheckError, EdgeError, SourceError

ALIASES = {"predict": "run"}
TARGET_ALIASES = {"trt": "tensorrt", "mlpackage": "coreml", "ort": "onnx"}
FOLDER = click.Path(path_type=Path)


class Commands(click.Group):
    """Verbs in the order of a first session, the aliases people type, and a hint for a near miss."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        found = super().get_command(ctx, ALIASES.get(name, name))
        if found is None:
            near = difflib.get_close_matches(name, self.commands, n=1)
            hint = f": did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"there is no command {name!r}{hint}", ctx)
        return found


class Named(click.Choice[str]):
    """A choice among plugins, with the other names people use for them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return str(super().convert(TARGET_ALIASES.get(str(value), value), param, ctx))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sam3-edge")
def cli() -> None:
    """SAM 3 on phones, Jetsons and laptops: verified bundles, and a runtime without torch."""


as_json = click.option("--json", "json_", is_flag=True, help="One JSON document on stdout.")
overwrite = click.option("--overwrite", is_flag=True, help="Replace what is there.")


@cli.command()
@click.option("--selftest", is_flag=True, help="Replay the built-in model's golden answers.")
@as_json
def doctor(selftest: bool, json_: bool) -> None:
    """Show what works on this machine, by running it."""
    from sam3_edge import console, doctor

    report = doctor.examine()
    if selftest:
        report["selftest"] = doctor.selftest()
    if json_:
        console.emit(report)
    else:
        doctor.show(report)
    if not any(backend["ok"] for backend in report["backends"].values()):
        raise BackendError("no backend works here: pip install 'sam3-edge[onnx]' for the processor")


@cli.command()
@click.option(
    "--run-only", is_flag=True, help="Do not export: use the bundle that is installed. Needs no torch."
)
@click.option("-o", "--output", type=FOLDER, default=Path("demo"), show_default=True)
def demo(run_only: bool, output: Path) -> None:
    """Export the built-in model, prove it, and let it find shapes by phrase and by example."""
    from sam3_edge import console, load
    from sam3_edge.builtin import builtin_bundle
    from sam3_edge.demo import ask_all, contact_sheet
    from sam3_edge.overlay import png
    from sam3_edge.writing import write_file

    bundle = builtin_bundle()
    if not run_only:
        show_export(export_job(output / "shapes-onnx", target="onnx", overwrite=True))
        bundle = output / "shapes-onnx"
    with load(bundle) as segmenter:
        answers = ask_all(segmenter)
    rows = [
        (a.caption, f"{a.found.presence:.2f}", " ".join(f"{s:.2f}" for s in a.found.scores)) for a in answers
    ]
    console.table(
        "Asked of three generated pictures", ("question: right of wanted", "presence", "scores"), rows
    )
    sheet = write_file(output / "contact_sheet.png", png(contact_sheet(answers)), overwrite=True)
    console.note("Next:")
    name = "" if run_only else f" --bundle {bundle}"
    console.note(f"  sam3-edge run {sheet} --prompt 'red circle' --prompt star -o {output / 'results'}{name}")
    console.note("  sam3-edge doctor --selftest")
    console.note(
        "  sam3-edge export --checkpoint facebook/sam3 --target onnx   # needs access, see the README"
    )
    click.echo(sheet)


@cli.command()
@click.option("--checkpoint", help="Hub id, folder, .safetensors or sam3.pt. Default: the built-in model.")
@click.option("--official", is_flag=True, help="The checkpoint is Meta's sam3.pt, a pickle.")
@click.option("--revision", help="Branch, tag or commit of a hub id.")
@click.option("--tokenizer", type=FOLDER, help="The tokenizer's merges.txt, if not with the checkpoint.")
@click.option("--target", "--format", required=True, type=Named(registry.names("target")))
@click.option(
    "--scheme", type=click.Choice(["fp32", *registry.names("scheme")]), default="fp32", show_default=True
)
@click.option(
    "--image-size", type=int, help="Pixels; a multiple of patch x window. Default: the checkpoint's."
)
@click.option("--max-boxes", type=int, help="Exemplar boxes one concept may have. Default: 8.")
@click.option("--concepts", type=FOLDER, help="A text file, a phrase per line, to store precomputed.")
@click.option("--no-text", is_flag=True, help="Leave the text encoder out; only --concepts can be asked.")
@click.option("-o", "--output", type=FOLDER, help="Default: NAME[-rSIZE]-SCHEME-TARGET.")
@overwrite
@click.option("--dry-run", is_flag=True, help="Print what would be exported and stop.")
@click.option("--threads", type=int, help="Processor threads for the comparison.")
@as_json
def export(
    json_: bool, dry_run: bool, output: Path | None, concepts: Path | None, no_text: bool, **options: Any
) -> None:
    """Turn a SAM 3 checkpoint into a bundle that has been measured against it."""
    from sam3_edge import console
    from sam3_edge.phrases import read_phrases

    if options["checkpoint"] is None:
        console.note(
            "No --checkpoint: exporting the built-in model `shapes`, which knows coloured shapes only."
        )
        console.note("For SAM 3: request access on huggingface.co/facebook/sam3, `hf auth login`, then")
        console.note("  sam3-edge export --checkpoint facebook/sam3 --target onnx")
    phrases = read_phrases(concepts) if concepts else ()
    job = export_job(output, text=not no_text, phrases=phrases, **options)
    if dry_run:
        console.emit(registry.load_module("export", "pipeline").plan(job))
        return
    report = show_export(job)
    if json_:
        console.emit(report)
    else:
        click.echo(report["path"])


def export_job(output: Path | None, **options: Any) -> Any:
    """The export pipeline's job; without an output it names its own."""
    pipeline = registry.load_module("export", "pipeline")
    return pipeline.Job(output=output, **options)


def show_export(job: Any) -> dict[str, Any]:
    """Export, and print the receipt."""
    from sam3_edge import console

    start = time.perf_counter()
    pipeline = registry.load_module("export", "pipeline")
    with console.status("export") as say:
        bundle, parity = pipeline.export(job, say)
    rows = [(f"{o.graph}.{o.output}", f"{o.relative:.1e}", f"{o.largest:.1e}") for o in parity.outputs]
    limit = f"{parity.gate.relative:.0e}"
    console.table(
        f"Against PyTorch (relative error at most {limit})", ("output", "relative", "largest"), rows
    )
    answers, inspected = parity.answers, bundle.to_json()
    if answers.objects:
        found = f"{answers.objects} objects, {answers.missing} missing, {answers.extra} extra"
        console.note(
            f"whole answers: {found}, mean mask IoU {answers.mean_iou:.4f}, worst {answers.min_iou:.4f}"
        )
    else:
        console.note(
            "whole answers: the model finds nothing on the example pictures; only tensors were compared"
        )
    seconds = time.perf_counter() - start
    console.note(
        f"saved {bundle.path} ({inspected['bytes'] / 1e6:.1f} MB, {seconds:.0f} s), hash {bundle.hash}"
    )
    return inspected | {"parity": parity.to_json()}


@cli.command()
@click.argument("bundle", type=FOLDER)
@click.option("--expect", metavar="HEX", help="The bundle's hash as you got it by another way.")
@click.option("--replay", is_flag=True, help="Also ask the golden questions on this machine's backend.")
@as_json
def verify(bundle: Path, expect: str | None, replay: bool, json_: bool) -> None:
    """Hash every file of BUNDLE; with --expect answer tampering, without it accidents."""
    from sam3_edge import bundle as bundles
    from sam3_edge import console, doctor, golden, load

    total = bundles.Bundle.open(bundle).to_json()["bytes"]
    with console.progress("verify", total) as advance:
        checked = bundles.verify(bundle, expect, advance=advance)
    report = {
        "bundle": str(bundle),
        "hash": checked.hash,
        "files": len(checked.files),
        "expected": expect is not None,
    }
    if replay:
        cases = golden.read_golden(checked)
        if not cases:
            raise CheckError(f"bundle {bundle}: it has no golden answers to replay; export it again")
        with load(bundle) as segmenter:
            agreement = golden.replay(segmenter, cases)
        doctor.check(agreement)
        report["answers"] = agreement.to_json()
    if json_:
        console.emit(report)
    else:
        click.echo(f"{checked.hash}  {bundle}")


@cli.command()
@click.argument("bundle", type=FOLDER)
@as_json
def inspect(bundle: Path, json_: bool) -> None:
    """Show what BUNDLE is: graphs, sizes, provenance, receipt."""
    from sam3_edge import bundle as bundles
    from sam3_edge import console

    opened = bundles.Bundle.open(bundle)
    if json_:
        console.emit(opened.to_json())
    else:
        console.show_bundle(opened)


@cli.command()
@click.argument("pictures", nargs=-1, required=True, type=FOLDER)
@click.option("--bundle", type=FOLDER, help="Default: the built-in model.")
@click.option("--prompt", multiple=True, help="A phrase to look for; may be repeated.")
@click.option("--box", multiple=True, help="Exemplar x0,y0,x1,y1[:neg] in pixels; may be repeated.")
@click.option("--threshold", default=0.5, show_default=True, help="Objects score above it.")
@click.option("--polygons", is_flag=True, help="Corners instead of run lengths in the COCO document.")
@click.option("--threads", type=int, help="Processor threads.")
@click.option("-o", "--output", type=FOLDER, default=Path("results"), show_default=True)
@overwrite
@as_json
def run(
    pictures: tuple[Path, ...],
    bundle: Path | None,
    prompt: tuple[str, ...],
    box: tuple[str, ...],
    json_: bool,
    **options: Any,
) -> None:
    """Find every object of a concept in PICTURES; write overlays and results.json (COCO)."""
    from sam3_edge import console, load
    from sam3_edge import run as runs

    concepts = runs.concepts_of(prompt, box)
    found = runs.find_pictures(pictures)
    threads = options.pop("threads")
    with load(bundle, threads=threads) as segmenter, console.progress("run", len(found)) as advance:
        outcomes = runs.run_pictures(segmenter, found, concepts, advance=advance, **options)
    if json_:
        console.emit(
            {"results": str(options["output"] / runs.RESULTS), "pictures": [o.to_json() for o in outcomes]}
        )
    else:
        runs.show(outcomes, options["output"])
    if bad := list(runs.failures(outcomes)):
        raise SourceError(f"{bad[0]}" + (f" (and {len(bad) - 1} more pictures)" if len(bad) > 1 else ""))


def main() -> None:
    """Run the command line and leave with the documented exit code."""
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Exit as leaving:
        sys.exit(leaving.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except EdgeError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except MemoryError:
        click.echo("error: out of memory: try a smaller --image-size", err=True)
        sys.exit(6)


if __name__ == "__main__":
    main()
