"""`marrowscope label-studio`: answers a Label Studio project, until Ctrl-C."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from marrowscope.cli.terminal import Device, Runtime, Terminal, Threads

EXAMPLES = """
Examples:

  marrowscope label-studio --model real --port 9090

  marrowscope label-studio --model runs/may/best --url http://localhost:8080

  marrowscope label-studio --data-root /data/fields --score 0.3

  marrowscope label-studio --host 0.0.0.0 --insecure-lan --known-as host.docker.internal

In Label Studio: Settings, Model, Connect Model, with the address that is shown. The API key is read from
LABEL_STUDIO_API_KEY.
"""


def label_studio(
    model: Annotated[str, typer.Option(help="The detector: real, demo, or a folder such as RUN/best.")] = "real",
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: a free one.")] = 9090,
    url: Annotated[
        str | None, typer.Option(envvar="LABEL_STUDIO_URL", help="Where Label Studio is: pictures are fetched from it.")
    ] = None,
    data_root: Annotated[
        Path | None,
        typer.Option(help="Folder of its local files (its LOCAL_FILES_DOCUMENT_ROOT), read without asking it."),
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Another host that pictures are fetched from; may be given again.")
    ] = None,
    score: Annotated[
        float | None, typer.Option(min=0, max=1, help="Leave out cells below this; else the model's own threshold.")
    ] = None,
    known_as: Annotated[
        list[str] | None,
        typer.Option(help="Another name by which Label Studio calls this machine; may be given again."),
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option("--tls-cert", help="Certificate (PEM); needs --tls-key.")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="Its private key (PEM).")] = None,
    insecure_lan: Annotated[
        bool,
        typer.Option("--insecure-lan", help="Listen on a network without encryption: whoever is on it can ask."),
    ] = False,
    device: Device = "auto",
    runtime: Runtime = "auto",
    threads: Threads = 0,
) -> None:
    """Find the cells of a Label Studio project's pictures: a model (ML backend) that it can be connected to."""
    import os

    from marrowscope.assemble.detectors import use_threads
    from marrowscope.neighbours.task_images import TaskImages
    from marrowscope.station.settings import StationSettings
    from marrowscope.web.server import check_listening

    terminal = Terminal()
    settings = StationSettings().changed(
        host=host,
        port=port,
        hosts=tuple(known_as or ()),
        tls_cert=tls_cert,
        tls_key=tls_key,
        insecure_lan=insecure_lan,
    )
    check_listening(settings)
    token = os.environ.get("LABEL_STUDIO_API_KEY", "")
    images = TaskImages(url, token, data_root, frozenset(name.lower() for name in allow_host or ()))
    terminal.say("Starting ...")
    from marrowscope.neighbours.label_studio_backend import open_backend, serve

    use_threads(threads)
    backend = open_backend(model, images=images, score=score, device=device, runtime=runtime)

    def ready(address: str) -> None:
        terminal.title(f"marrowscope for Label Studio: {address}")
        terminal.say(f"{backend.version}, computed by {backend.opened.runtime}")
        terminal.say("In Label Studio: Settings, Model, Connect Model. Stop with Ctrl-C.")

    # By then every answer under way was given; the server hands the signal on.
    with suppress(KeyboardInterrupt):
        serve(backend, settings, ready=ready)
    terminal.say("Stopped.")


label_studio.__doc__ = f"{label_studio.__doc__}\n{EXAMPLES}"
