"""`marrowscope archive`: check, back up, restore, verify the audit trail, count; send a signed report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marrowscope.cli.terminal import Quiet, Terminal, command_line_user

if TYPE_CHECKING:
    from marrowscope.store.store import Store
    from marrowscope.store.values import IntegrityReport

DAMAGED = 2
HOME_VARIABLE = "MARROWSCOPE_HOME"
ORPHANS_SHOWN = 5

archive = typer.Typer(
    name="archive",
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Check, back up, restore and count the archive of a station; send its reports.",
)

Home = Annotated[Path, typer.Option("--home", envvar=HOME_VARIABLE, help="Folder of the station.")]
ArchiveUrl = Annotated[
    str | None,
    typer.Option("--url", help="Database, as postgresql://USER@HOST/NAME; else what station.toml says, or archive.db."),
]
HERE = Path("station")


def archive_url(home: Path, url: str | None) -> str:
    """The database of a station: the one given, that of its settings, or the file in its home."""
    if url is not None:
        return url
    if (home / "station.toml").is_file():
        from marrowscope.station.settings import load_settings

        if (said := load_settings(home).archive) is not None:
            return said
    return f"sqlite:///{home / 'archive.db'}"


def _open(home: Path, url: str | None) -> "Store":
    from marrowscope.store.store import Store

    return Store.open(archive_url(home, url), home / "pixels", create=False)


def _tell(terminal: Terminal, report: "IntegrityReport") -> None:
    """What a check found; ends the command where something is wrong."""
    if report.ok:
        terminal.say(f"Whole: {report}.", style="green")
        return
    for problem in report.problems:
        # Told even when quiet: it is the answer.
        Terminal().warn(problem)
    terminal.warn(f"Damaged. Looked at {report}. Restore a backup: marrowscope archive restore")
    raise typer.Exit(DAMAGED)


@archive.command()
def check(
    home: Home = HERE,
    url: ArchiveUrl = None,
    quick: Annotated[bool, typer.Option("--quick", help="Look whether files are there, without reading them.")] = False,
    quiet: Quiet = False,
) -> None:
    """Check that pixels, rows and audit trail are whole and agree.

    Exit code 2 where they do not; the first difference is named. The station may run meanwhile.

    \b
    Examples:
      marrowscope archive check
      marrowscope archive check --home /srv/marrow --quick
    """  # noqa: D301 (\b keeps the lines)
    from marrowscope.store.check import check_archive

    terminal = Terminal(quiet)
    with terminal.progress("reading", "files") as advance:
        report = check_archive(archive_url(home, url), home / "pixels", quick=quick, progress=advance)
    if report.orphans:
        terminal.say(f"{len(report.orphans)} files that no row names, left by a crash and harmless:")
        for path in report.orphans[:ORPHANS_SHOWN]:
            terminal.say(f"  {home / 'pixels' / path}")
    _tell(terminal, report)


@archive.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="New folder for the backup.")],
    home: Home = HERE,
    url: ArchiveUrl = None,
    quiet: Quiet = False,
) -> None:
    """Copy the whole archive, as it is at this moment, into a new folder. The station may run meanwhile.

    It can be restored to SQLite or PostgreSQL. Models and station.toml are not in it: copy them along.

    \b
    Examples:
      marrowscope archive backup /mnt/safe/marrow-2026-05-04
      marrowscope archive backup copy --url postgresql://marrow@db.lab/marrow
    """  # noqa: D301 (\b keeps the lines)
    terminal = Terminal(quiet)
    with _open(home, url) as store, terminal.progress("copying", "files") as advance:
        made = store.backup(folder, progress=advance)
    terminal.say(f"{made.folder}     {sum(made.rows.values())} rows, {made.files} files, {made.bytes / 1e6:.1f} MB")
    terminal.say(f"Newest audit entry: {made.digest}")


@archive.command()
def restore(
    folder: Annotated[Path, typer.Argument(help="Folder of a backup.")],
    home: Home = HERE,
    url: ArchiveUrl = None,
    quiet: Quiet = False,
) -> None:
    """Fill an empty place from a backup, and verify all of it on the way.

    \b
    Examples:
      marrowscope archive restore /mnt/safe/marrow-2026-05-04 --home new_station
      marrowscope archive restore copy --url postgresql://marrow@db.lab/marrow
    """  # noqa: D301 (\b keeps the lines)
    from marrowscope.store.backup import restore as fill
    from marrowscope.store.database import without_password

    terminal = Terminal(quiet)
    target = archive_url(home, url)
    with terminal.progress("copying", "files") as advance:
        made = fill(folder, target, home / "pixels", progress=advance)
    terminal.say(
        f"{without_password(target)}     as of {made.made_at:%Y-%m-%d %H:%M} UTC: "
        f"{made.rows['specimens']} specimens, {made.rows['cells']} cells, {made.files} files, all verified"
    )


@archive.command("verify-audit")
def verify_audit(
    home: Home = HERE,
    url: ArchiveUrl = None,
    expect: Annotated[str | None, typer.Option(help="A digest written down earlier: it must be in the trail.")] = None,
    quiet: Quiet = False,
) -> None:
    """Read the audit trail from its first entry to its last, and name the first that is broken.

    Prints the digest of the newest entry. Written down outside the archive, and given with --expect later, it proves
    that nothing before it was changed. Exit code 2 where the trail is broken.

    \b
    Examples:
      marrowscope archive verify-audit
      marrowscope archive verify-audit --expect 0c41...e2
    """  # noqa: D301 (\b keeps the lines)
    terminal = Terminal(quiet)
    with _open(home, url) as store:
        report = store.verify(expect)
    if report.ok:
        terminal.say(f"Newest audit entry: {report.digest}")
    _tell(terminal, report)


@archive.command()
def statistics(home: Home = HERE, url: ArchiveUrl = None, quiet: Quiet = False) -> None:
    """Count specimens, cells by class, and what people corrected.

    \b
    Examples:
      marrowscope archive statistics
      marrowscope archive statistics --home /srv/marrow
    """  # noqa: D301 (\b keeps the lines)
    terminal = Terminal(quiet)
    with _open(home, url) as store:
        numbers = store.statistics()
    kinds = ("patients", "specimens", "slides", "fields", "cells", "reviewed", "reports")
    terminal.table(("archive", "number"), [(kind, getattr(numbers, kind)) for kind in kinds])
    by_count = sorted(numbers.by_code.items(), key=lambda item: -item[1])
    terminal.table(("class", "cells"), by_count, title="Cells by class")
    renamed = sorted(((n, *names) for names, n in numbers.renamed.items() if names[0] != names[1]), reverse=True)
    terminal.table(("called", "is", "cells"), [(a, b, n) for n, a, b in renamed[:20]], title="Renamed most often")
    edits = [(who, kind, number) for who, work in numbers.by_user.items() for kind, number in sorted(work.items())]
    terminal.table(("person", "edit", "number"), edits, title="Edits by person")


@archive.command()
def send(
    specimen: Annotated[str, typer.Argument(help="Code of a signed specimen; its newest report is sent.")],
    interface: Annotated[str, typer.Argument(help="HOST:PORT of the hospital's HL7 interface (MLLP).")],
    home: Home = HERE,
    url: ArchiveUrl = None,
    pdf: Annotated[bool, typer.Option(help="Send the signed PDF inside the message.")] = True,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the acknowledgement.")] = 30.0,
    tls: Annotated[
        bool, typer.Option("--tls", help="Encrypt the line, and see that the receiver is who it says.")
    ] = False,
    authority: Annotated[
        Path | None,
        typer.Option(help="PEM file of who signed the receiver's certificate, if not known here; with --tls."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Send the signed report of a specimen to the hospital, as HL7 v2.5.1 ORU^R01 over MLLP.

    Done when the receiver has acknowledged it; exit code 2 where it refused or did not answer. An amended report is
    marked as a correction of the one before. What was accepted is written into the audit trail. Without --tls the line
    is not encrypted: stay inside the hospital's network.

    \b
    Examples:
      marrowscope archive send KM-2026-0417 interface.hospital:2575
      marrowscope archive send KM-2026-0417 interface.hospital:2575 --no-pdf
      marrowscope archive send KM-2026-0417 interface.hospital:2576 --tls --authority hospital.pem
    """  # noqa: D301 (\b keeps the lines)
    from marrowscope.errors import BadInput
    from marrowscope.report import mllp
    from marrowscope.report.content import ReportContent
    from marrowscope.report.hl7 import oru_message

    host, port = mllp.parse_address(interface)
    if authority is not None and not tls:
        raise BadInput("--authority is for an encrypted line. Add --tls.")
    encryption = mllp.trusting(authority) if tls else None
    with _open(home, url) as store:
        report = store.newest_report(specimen)
        content = ReportContent.from_json(report.content)
        message = oru_message(content, store.report_pdf(report.id) if pdf else None)
        mllp.send(message, host, port, timeout_s=timeout, tls=encryption)
        store.note_sent(report.id, f"{host}:{port}", mllp.control_id(message), by=command_line_user())
    Terminal(quiet).say(f"{specimen}, version {report.version}: accepted by {host}:{port}", style="green")
