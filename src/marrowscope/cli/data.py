"""`marrowscope data`: check, count, split and convert labelled folders."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from marrowscope.cli.terminal import Quiet, Scheme, SkipBad, Terminal

if TYPE_CHECKING:
    from marrowscope.data.labelled import LabelledField

ERRORS_FOUND = 1

data = typer.Typer(
    name="data",
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Check, count, split and convert labelled folders.",
)

Folder = Annotated[Path, typer.Argument(help="Folder of labelled fields.")]
LabelFormats = Literal["voc", "coco", "yolo"]
ReadFormats = Literal["voc", "coco", "yolo", "label-studio"]


@data.command()
def check(
    folder: Annotated[Path, typer.Argument(help="VOC folder: Annotations/, JPEGImages/, ImageSets/Main/.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the whole report here.")] = None,
    scheme: Scheme = None,
    quiet: Quiet = False,
) -> None:
    """Find everything that is wrong with a labelled folder, in one report.

    Every image is decoded and every box is judged. Errors (exit code 1) are left out of training; warnings are used,
    but a person should look.

    \b
    Examples:
      marrowscope data check my_fields
      marrowscope data check my_fields --scheme liu2022 --json report.json
    """  # noqa: D301 (\b keeps the lines)
    from marrowscope.cells.files import write_atomically
    from marrowscope.cells.taxonomy import load_taxonomy
    from marrowscope.data.check import check_folder

    terminal = Terminal(quiet)
    taxonomy = load_taxonomy(scheme) if scheme else None
    with terminal.progress("decoding", "images") as advance:
        report = check_folder(folder, taxonomy=taxonomy, progress=advance)
    if json_file is not None:
        write_atomically(json_file, report.to_json())
    terminal.say(f"{report.fields} fields with {report.cells} cells can be used.")
    if report.problems:
        rows = [(kind.value, kind.severity.value, count) for kind, count in report.counts.items()]
        terminal.table(("problem", "severity", "count"), rows)
        terminal.problems((*report.errors, *report.warnings))
    else:
        terminal.say("Nothing is wrong.", style="green")
    if json_file is not None:
        terminal.say(f"{json_file}     the whole report")
    if report.errors:
        raise typer.Exit(ERRORS_FOUND)


@data.command()
def summary(
    folder: Folder,
    out: Annotated[Path | None, typer.Option(help="Folder for table1.md, table1.csv and table1.json.")] = None,
    scheme: Scheme = None,
    skip_bad: SkipBad = True,
    quiet: Quiet = False,
) -> None:
    """Count cells by class and split, as in the paper's Table 1, and say how large they are.

    \b
    Examples:
      marrowscope data summary my_fields
      marrowscope data summary my_fields --scheme liu2022 --out tables
    """  # noqa: D301 (\b keeps the lines)
    from marrowscope.cells.files import write_atomically
    from marrowscope.cells.taxonomy import load_taxonomy
    from marrowscope.cli.fields import require_folder
    from marrowscope.data.clean import infer_taxonomy
    from marrowscope.data.convert import read_labels, splits_of
    from marrowscope.data.summary import summarise

    terminal = Terminal(quiet)
    require_folder(folder)
    parts = {s: read_labels(folder, split=s, skip_bad=skip_bad) for s in splits_of(folder)}
    parts = parts or {"all": read_labels(folder, skip_bad=skip_bad)}
    errors = [p for part in parts.values() for p in part.problems if p.severity == "error"]
    terminal.problems(list(dict.fromkeys(errors)))
    fields = {s: part.fields for s, part in parts.items()}
    taxonomy = load_taxonomy(scheme) if scheme else infer_taxonomy(f for part in fields.values() for f in part)
    table = summarise(fields, taxonomy)
    rows: list[tuple[object, ...]] = []
    for row in table.rows:
        size = f"{row.width_px[1]:g} x {row.height_px[1]:g}" if row.width_px and row.height_px else "-"
        rows.append((row.name, row.lineage.value, *row.cells, size))
    rows.append(("cells", "", *table.cells, ""))
    rows.append(("fields", "", *table.fields, ""))
    for name, numbers in (
        ("fields without cells", table.unlabelled_fields),
        ("specimens", table.specimens),
        ("cells of no class", table.unknown_cells),
    ):
        if any(numbers):
            rows.append((name, "", *numbers, ""))
    terminal.table(("class", "lineage", *table.splits, "median px"), rows, title=f"{folder}, scheme {table.taxonomy}")
    if out is not None:
        for suffix, text in (("md", table.to_markdown()), ("csv", table.to_csv()), ("json", table.to_json())):
            write_atomically(out / f"table1.{suffix}", text)
        terminal.say(f"{out / 'table1.md'}     and .csv, .json")


@data.command()
def split(
    folder: Annotated[Path, typer.Argument(help="VOC folder.")],
    by: Annotated[
        Literal["field", "specimen"],
        typer.Option(help="field: as the paper; specimen: no patient's smear on both sides."),
    ] = "field",
    held_out: Annotated[float, typer.Option(help="Share of the fields for validation.")] = 0.2,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same split.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace the lists that there are.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be written.")] = False,
    skip_bad: SkipBad = True,
    quiet: Quiet = False,
) -> None:
    """Split a VOC folder: write ImageSets/Main/train.txt and val.txt, rare classes on both sides.

    Fields that another list keeps apart, such as test.txt, stay out of both.

    \b
    Examples:
      marrowscope data split my_fields
      marrowscope data split my_fields --by specimen --held-out 0.3 --seed 7
    """  # noqa: D301 (\b keeps the lines)
    from marrowscope.cells.files import write_atomically
    from marrowscope.data.split import by_field, by_specimen
    from marrowscope.data.voc import read_voc, voc_splits
    from marrowscope.errors import BadInput

    terminal = Terminal(quiet)
    lists = folder / "ImageSets" / "Main"
    targets = {name: lists / f"{name}.txt" for name in ("train", "val")}
    there = [path for path in targets.values() if path.exists()]
    if there and not (force or dry_run):
        raise BadInput(f"{there[0]}: is there already. Pass --force to replace it.")
    read = read_voc(folder, skip_bad=skip_bad)
    terminal.problems([p for p in read.problems if p.severity == "error"])
    others = [name for name in voc_splits(folder) if name not in ("train", "val", "trainval")]
    apart = {f.name for name in others for f in read_voc(folder, split=name, skip_bad=skip_bad).fields}
    fields = [f for f in read.fields if f.name not in apart]
    divide = by_specimen if by == "specimen" else by_field
    sides: dict[str, tuple[LabelledField, ...]] = dict(
        zip(targets, divide(fields, held_out=held_out, seed=seed), strict=True)
    )
    if apart:
        terminal.say(f"{len(apart)} fields stay in {', '.join(others)}")
    for name, side in sides.items():
        if not dry_run:
            write_atomically(targets[name], "".join(f"{f.name}\n" for f in side))
        cells = sum(len(f) for f in side)
        terminal.say(f"{name}: {len(side)} fields, {cells} cells{'' if dry_run else f', in {targets[name]}'}")


@data.command()
def convert(
    source: Annotated[Path, typer.Argument(help="Labelled folder, a COCO file, or a Label Studio export (JSON).")],
    destination: Annotated[Path, typer.Argument(help="Folder to write.")],
    to: Annotated[LabelFormats, typer.Option(help="Format to write.")],
    source_format: Annotated[
        ReadFormats | None, typer.Option("--from", help="Format to expect; else told by the folder's layout.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the images of a single JSON file, if they do not lie beside it.")
    ] = None,
    scheme: Scheme = None,
    link: Annotated[bool, typer.Option("--link", help="Hard-link the images rather than copy them.")] = False,
    skip_bad: SkipBad = True,
    quiet: Quiet = False,
) -> None:
    """Convert labels between Pascal VOC, COCO and YOLO, and from Label Studio, images and splits along with them.

    \b
    Examples:
      marrowscope data convert my_fields my_fields_coco --to coco
      marrowscope data convert exported_from_cvat my_fields --from coco --to voc
      marrowscope data convert project-1.json my_fields --images label_studio_files --to voc
    """  # noqa: D301 (\b keeps the lines)
    from marrowscope.cells.taxonomy import load_taxonomy
    from marrowscope.cli.fields import require_folder
    from marrowscope.data.convert import LabelFormat, detect_format
    from marrowscope.data.convert import convert as convert_labels
    from marrowscope.data.images import ImageTransfer
    from marrowscope.errors import BadInput

    terminal = Terminal(quiet)
    require_folder(source)
    found = detect_format(source)
    if source_format is not None and found != source_format:
        raise BadInput(f"{source}: is laid out as {found}, not as {source_format}. Leave --from out, or correct it.")
    if source.resolve() == destination.resolve():
        raise BadInput(f"{destination}: is the source itself. Give another folder.")
    read, taxonomy = convert_labels(
        source,
        destination,
        to=LabelFormat(to),
        taxonomy=load_taxonomy(scheme) if scheme else None,
        skip_bad=skip_bad,
        images=ImageTransfer.LINK if link else ImageTransfer.COPY,
        image_folder=images,
    )
    terminal.problems([p for p in read.problems if p.severity == "error"])
    cells = sum(len(f) for f in read.fields)
    terminal.say(
        f"{len(read.fields)} fields with {cells} cells of {len(taxonomy)} classes: {found} -> {to} in {destination}"
    )
