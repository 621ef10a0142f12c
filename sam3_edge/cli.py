"""The command line: `verbs/<name>.py` is the verb `<name>`, imported when it is asked for."""

from __future__ import annotations

import difflib
import sys
from importlib import import_module

import click

from sam3_edge import __version__
from sam3_edge.errors import EdgeError

# In the order of a first session.
VERBS = (
    "doctor",
    "demo",
    "export",
    "quantize",
    "build",
    "verify",
    "inspect",
    "run",
    "benchmark",
    "compare",
    "eval",
    "label",
    "distill",
)
ALIASES = {"predict": "run", "bench": "benchmark"}


class Verbs(click.Group):
    """The verbs, the aliases people type, and a hint for a near miss."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command:
        verb = ALIASES.get(name, name)
        if verb not in VERBS:
            near = difflib.get_close_matches(name, VERBS, n=1)
            hint = f": did you mean {near[0]}?" if near else f": choose from {', '.join(VERBS)}"
            raise click.UsageError(f"there is no command {name!r}{hint}", ctx)
        command: click.Command = import_module(f"sam3_edge.verbs.{verb}").command
        return command


@click.group(cls=Verbs, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sam3-edge")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """SAM 3 on phones, Jetsons and laptops: verified bundles, and a runtime without torch."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def on_one_line(error: click.ClickException) -> str:
    """What click has to say, and where to read on."""
    path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "sam3-edge"
    return f"{' '.join(error.format_message().split())} (see {path} --help)"


def main() -> None:
    """Run the command line and leave with the documented exit code."""
    try:
        cli.main(prog_name="sam3-edge", standalone_mode=False)
    except click.Abort:  # Ctrl-C; what was half-written has been removed on the way here
        sys.exit(130)
    except click.ClickException as error:
        click.echo(f"error: {on_one_line(error)}", err=True)
        sys.exit(2)
    except EdgeError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except MemoryError:
        click.echo("error: out of memory: export with a smaller --image-size, and run that bundle", err=True)
        sys.exit(6)


if __name__ == "__main__":
    main()
