"""`marrowscope station`: the page for microscope, review and report, until Ctrl-C."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marrowscope.cli.terminal import Terminal

if TYPE_CHECKING:
    from marrowscope.station.settings import StationSettings

DEFAULT_HOME = Path("station")

EXAMPLES = """
Examples:

  marrowscope station --open

  marrowscope station --home /data/station --camera uvc:0

  marrowscope station --model runs/may/best --port 9000

  marrowscope station --host 0.0.0.0 --tls-cert station.crt --tls-key station.key

What is not given here stands in station.toml of the home folder, which explains every entry.
"""


def station(
    home: Annotated[
        Path, typer.Option(envvar="MARROWSCOPE_HOME", help="Folder of the archive, the settings and the log.")
    ] = DEFAULT_HOME,
    host: Annotated[
        str | None, typer.Option(help="Where to listen; 127.0.0.1 unless station.toml says otherwise.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 8420 unless station.toml says otherwise, 0: a free one.")
    ] = None,
    camera: Annotated[
        str | None, typer.Option(help="The microscope that is offered first, such as simulated or uvc:0.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="The detector: real, demo, or a folder such as RUN/best. A new one serves at once."),
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option("--tls-cert", help="Certificate (PEM); needs --tls-key.")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="Its private key (PEM).")] = None,
    insecure_lan: Annotated[
        bool,
        typer.Option("--insecure-lan", help="Listen on a network without encryption: whoever is on it can read along."),
    ] = False,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in this machine's browser.")] = False,
) -> None:
    """Run the microscope station: live view, archive, review, signed report; on the simulated microscope at first."""
    from marrowscope.station.settings import load_settings

    home = home.expanduser().absolute()
    settings = load_settings(home).changed(
        host=host,
        port=port,
        camera=camera,
        model=_as_seen_from_here(model),
        tls_cert=None if tls_cert is None else tls_cert.absolute(),
        tls_key=None if tls_key is None else tls_key.absolute(),
        insecure_lan=insecure_lan or None,
    )

    serve(Terminal(), home, settings, open_page=open_page)


station.__doc__ = f"{station.__doc__}\n{EXAMPLES}"


def _as_seen_from_here(model: str | None) -> str | None:
    """A path that was typed is relative to where it was typed; one in station.toml to the home folder."""
    from marrowscope.assemble.detectors import SHIPPED

    return model if model is None or model in SHIPPED else str(Path(model).absolute())


def serve(terminal: Terminal, home: Path, settings: "StationSettings", *, open_page: bool = False) -> None:
    """Run a station and say where it is, until Ctrl-C."""
    from marrowscope.assemble.station import run_station

    def ready(address: str, first_run: bool) -> None:
        terminal.title(f"marrowscope station: {address}")
        terminal.say(f"Archive, settings and log: {home}")
        if first_run:
            terminal.say("First run: open the address on this machine and make the first person, who is the admin.")
        if settings.insecure_lan and not settings.tls:
            terminal.warn("Passwords and pictures cross the network unencrypted (--insecure-lan).")
        terminal.say("Decision support: a person signs. Stop with Ctrl-C.")
        if open_page:
            typer.launch(address)

    terminal.say("Starting ...")
    # By then the server has ended everything in order; it hands the signal on.
    with suppress(KeyboardInterrupt):
        run_station(home, settings, ready=ready)
    terminal.say("Station stopped; everything that was kept is on disk.")
