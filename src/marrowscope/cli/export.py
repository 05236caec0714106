"""`marrowscope export`: a checkpoint made ready to be given away, with a card that says what it is."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from marrowscope.cli.terminal import Quiet, Terminal, make_folder

if TYPE_CHECKING:
    from marrowscope.assemble.exporting import Exported, Fields
    from marrowscope.model.checkpoint import Checkpoint

CARD = "CARD.md"
NO_NOTE = (
    "Not written yet. Say on which microscope, camera and stain the fields were taken, of how many specimens, who "
    "labelled them, and where the model is known to fail. Until then: not for patients."
)


def export(
    checkpoint: Annotated[str, typer.Argument(help="Checkpoint folder (RUN/best).")],
    out: Annotated[Path, typer.Option(help="Folder to write model.safetensors and CARD.md to.")],
    half: Annotated[
        bool, typer.Option("--half/--full", help="float16 weights, half the size, or float32 as trained.")
    ] = True,
    note: Annotated[Path | None, typer.Option(help="Text (Markdown) on origin and limits, for the card.")] = None,
    to: Annotated[
        Literal["openvino", "onnx"] | None,
        typer.Option(help="Also write its networks for another runtime, beside the weights."),
    ] = None,
    precision: Annotated[
        Literal["fp32", "int8"], typer.Option(help="int8: quicker, by ranges learned from --fields; for openvino.")
    ] = "fp32",
    fields: Annotated[
        Path | None,
        typer.Option(help="Folder of your own fields (30 to 100) for int8; where labelled, accuracy is measured."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write a checkpoint to give away: small weights, and a card with classes, recipe, data hash and figures.

    With --to its networks are exported too, and whoever opens the folder computes with them. In int8 layers are left
    in fp32 until AP@50 on the labelled fields is within half a point.

    \b
    Examples:
      marrowscope export runs/first/best --out marrow_model
      marrowscope export runs/first/best --out marrow_model --full --note limits.md
      marrowscope export runs/first/best --out marrow_model --to openvino --precision int8 --fields my_fields
    """  # noqa: D301 (\b keeps the lines)
    from marrowscope.assemble.detectors import checkpoint_path
    from marrowscope.cells.files import write_atomically
    from marrowscope.errors import BadInput
    from marrowscope.model.checkpoint import WEIGHTS, levelled, load_checkpoint, save_checkpoint

    terminal = Terminal(quiet)
    _check_options(to, precision, fields)
    shown = _fields(fields) if fields else ()
    source = checkpoint_path(checkpoint)
    loaded = levelled(load_checkpoint(source))
    try:
        limits = note.read_text(encoding="utf-8").strip() if note else NO_NOTE
    except UnicodeDecodeError:
        raise BadInput(f"{note}: is not text in UTF-8. Give a Markdown file.") from None
    if (out / WEIGHTS).exists() and source.resolve() in ((out / WEIGHTS).resolve(), out.resolve()):
        raise BadInput(f"{out}: is the checkpoint itself. Give another folder.")
    make_folder(out)
    save_checkpoint(out, loaded, half=half)
    write_atomically(out / CARD, model_card(loaded, limits, half=half))
    size = (out / WEIGHTS).stat().st_size / 1e6
    terminal.say(f"{out / WEIGHTS}     {size:.1f} MB, {'float16' if half else 'float32'} weights")
    terminal.say(f"{out / CARD}     what it is" + ("" if note else "; its limits are still to be written (--note)"))
    if to:
        _tell_graphs(terminal, _export_graphs(terminal, out, to, precision, shown))
    terminal.say(f"Next: marrowscope detect {out} PICTURES --out found")


def _check_options(to: str | None, precision: str, fields: Path | None) -> None:
    from marrowscope.errors import BadInput

    if precision == "int8" and to != "openvino":
        raise BadInput("--precision int8 is for OpenVINO. Add --to openvino.")
    if precision == "int8" and fields is None:
        raise BadInput("--precision int8 learns its ranges from fields of your own. Give a folder: --fields FOLDER.")
    if fields is not None and precision != "int8":
        raise BadInput("--fields is for --precision int8. Leave it out, or add that.")


def _fields(folder: Path) -> "Fields":
    """Labelled fields where the folder has labels, else its pictures."""
    from marrowscope.cli.fields import require_folder
    from marrowscope.data.convert import read_labels
    from marrowscope.detect.sources import find_images
    from marrowscope.errors import BadInput

    require_folder(folder)
    try:
        labelled = [field for field in read_labels(folder).fields if field.labels]
    except BadInput:
        labelled = []
    return labelled or find_images([folder], recursive=True)


def _export_graphs(terminal: Terminal, out: Path, to: str, precision: str, fields: "Fields") -> "Exported":
    from marrowscope.assemble.exporting import export_fp32, export_int8

    if precision == "fp32":
        return export_fp32(out, to)
    with terminal.progress("quantising", "fields") as advance:
        return export_int8(out, fields, advance)


def _tell_graphs(terminal: Terminal, exported: "Exported") -> None:
    record = exported.record
    size = sum(file.stat().st_size for file in exported.folder.iterdir()) / 1e6
    kept = f", but for {', '.join(record.kept_fp32)} in fp32" if record.kept_fp32 else ""
    terminal.say(f"{exported.folder}     {size:.1f} MB, {record.precision}{kept}")
    if exported.fp32 is None:
        if record.precision == "int8":
            terminal.warn("The fields have no labels, so what int8 costs was not measured. Evaluate before use.")
        return
    terminal.say(f"  AP@50 on these fields: {exported.fp32:.4f} in fp32")
    for kept_fp32, found in exported.tried:
        terminal.say(f"  AP@50 on these fields: {found:.4f} in int8 with {', '.join(kept_fp32)} in fp32")


def _more_lines(checkpoint: "Checkpoint") -> list[str]:
    """What not every checkpoint has."""
    lines = []
    if (scale := checkpoint.scale) is not None:
        lines.append(f"- a cell of middle size is {scale.cell_px:.0f} pixels across there")
    if (reader := checkpoint.reader) is not None:
        lines.append(
            f"- reader: trunk `{reader.trunk}` names each cell again, on crops of {reader.crop_px} pixels, "
            f"{reader.views} views"
        )
    if checkpoint.added:
        names = ", ".join(checkpoint.taxonomy.names[-checkpoint.added :])
        lines.append(f"- added from a few cells, without training: {names}")
    return lines


def model_card(checkpoint: "Checkpoint", limits: str, *, half: bool) -> str:
    """The card, from the checkpoint alone."""
    model = checkpoint.model
    weights = sum(tensor.numel() for tensor in checkpoint.weights.values())
    name = str(checkpoint.recipe.get("name", "detector"))
    figures = [f"| {key.removeprefix('val_')} | {value:.4g} |" for key, value in _numbers(checkpoint.metrics)]
    classes = [
        f"| {n} | {c.name} | {c.code} | {c.lineage.value} | {'yes' if c.counted else 'no'} |"
        for n, c in enumerate(checkpoint.taxonomy, 1)
    ]
    lines = [
        f"# Marrow cell detector, recipe `{name}`",
        "",
        "Finds and names cells in Wright-stained marrow fields. Decision support: a person reviews and signs.",
        "",
        "## Model",
        "",
        f"- Faster R-CNN, {model.loss} loss, trunk `{model.trunk}`, pyramid strides {list(model.strides)} of "
        f"{model.fpn_channels} channels",
        f"- input: fields fitted inside {model.input_size[0]} x {model.input_size[1]} pixels",
        *_more_lines(checkpoint),
        f"- {weights / 1e6:.2f} million numbers, {'float16' if half else 'float32'}",
        f"- epoch {checkpoint.epoch}; made by marrowscope {checkpoint.code_version}",
        f"- training data (SHA-256 of labels and image sizes): `{checkpoint.data_hash or 'not recorded'}`",
        "",
        "## Validation",
        "",
        f"Score threshold {checkpoint.score_threshold:.4f}, chosen by macro F1 on the validation fields. "
        + ("Scores only order detections." if checkpoint.calibration is None else "Scores are probabilities (Platt)."),
        "",
        *(["| figure | value |", "|---|---:|", *figures] if figures else ["No figures were recorded."]),
        "",
        f"## Classes: {len(checkpoint.taxonomy)} of scheme `{checkpoint.taxonomy.name}`",
        "",
        "| | class | code | lineage | counted |",
        "|---:|---|---|---|---|",
        *classes,
        "",
        "## Origin and limits",
        "",
        limits,
        "",
        "## Recipe",
        "",
        "```json",
        json.dumps(dict(checkpoint.recipe), indent=1, ensure_ascii=False),
        "```",
    ]
    return "\n".join(lines) + "\n"


def _numbers(metrics: "object") -> list[tuple[str, float]]:
    items = metrics.items() if hasattr(metrics, "items") else ()
    return [(str(k), float(v)) for k, v in items if isinstance(v, int | float) and "seconds" not in str(k)]
