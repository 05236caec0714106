"""All commands, and how each of them ends: errors become one line and an exit code in one place."""

import os
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from marrowscope.cli.ablate import ablate
from marrowscope.cli.add_class import add_class
from marrowscope.cli.archive import archive
from marrowscope.cli.calibrate import calibrate
from marrowscope.cli.centres import centres
from marrowscope.cli.data import data
from marrowscope.cli.demo import demo
from marrowscope.cli.detect import detect
from marrowscope.cli.doctor import doctor
from marrowscope.cli.drift import drift
from marrowscope.cli.evaluate import evaluate
from marrowscope.cli.export import export
from marrowscope.cli.label_studio import label_studio
from marrowscope.cli.regions import regions
from marrowscope.cli.retrain import retrain
from marrowscope.cli.slides import slides
from marrowscope.cli.smear import smear
from marrowscope.cli.smear_slide import smear_slide
from marrowscope.cli.station import station
from marrowscope.cli.terminal import say_error
from marrowscope.cli.train import train
from marrowscope.cli.train_reader import train_reader
from marrowscope.errors import MarrowscopeError

BAD_INPUT, STOPPED = 2, 130
DEBUG = "MARROWSCOPE_DEBUG"

GOING_ON = {
    "train": "Give the same command with --resume to go on from the last saved state.",
    "train-reader": "Give the same command with --resume to go on from the last epoch.",
    "ablate": "Give the same command with --resume: finished columns are kept, the open one goes on.",
    "retrain": "Give the same command with --resume to go on.",
    "slides": "Give the same command again to go on: finished tiles are kept.",
    "smear": "Give the same command again: finished fields are kept.",
    "demo": "Give the same command again: drawn fields are kept.",
}


def debugging() -> bool:
    """Whether tracebacks are wanted."""
    return os.environ.get(DEBUG, "") not in ("", "0")


class FrontDoor(TyperGroup):
    """Ends every command the same way."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; what was raised on purpose, or by the system, becomes a line on stderr and a code."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # the reader of our output has left: nothing to tell anybody
        except KeyboardInterrupt:
            word = GOING_ON.get(ctx.invoked_subcommand or "", "Nothing half-written was left behind.")
            say_error(f"Stopped. {word}")
            raise typer.Exit(STOPPED) from None
        except (MarrowscopeError, OSError) as error:
            if debugging():
                raise
            say_error(f"{type(error).__name__}: {error}")
            raise typer.Exit(BAD_INPUT) from None


app = typer.Typer(
    name="marrowscope",
    cls=FrontDoor,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say_version(wanted: bool) -> None:
    if wanted:
        from marrowscope import __version__

        typer.echo(f"marrowscope {__version__}")
        raise typer.Exit


@app.callback()
def _front_door(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help=f"Show tracebacks ({DEBUG}=1 does the same).")] = False,
) -> None:
    """Find and name bone-marrow cells in Wright-stained fields. Decision support: a person signs.

    Begin with [bold]marrowscope demo[/]: no network, no data needed.
    """
    if debug:
        os.environ[DEBUG] = "1"


app.command()(demo)
app.command()(train)
app.command()(train_reader)
app.command()(add_class)
app.command()(evaluate)
app.command()(detect)
app.command()(slides)
app.command()(ablate)
app.command()(calibrate)
app.command()(centres)
app.command()(drift)
app.add_typer(data, name="data")
app.command()(regions)
app.command()(smear)
app.command()(smear_slide)
app.command()(export)
app.command()(station)
app.command("label-studio")(label_studio)
app.add_typer(archive, name="archive")
app.command()(retrain)
app.command()(doctor)
