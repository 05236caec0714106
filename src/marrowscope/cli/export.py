"""`marrowscope export`: a checkpoint made ready to be given away, with a card that says what it is."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marrowscope.cli.terminal import Quiet, Terminal, make_folder

if TYPE_CHECKING:
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
    quiet: Quiet = False,
) -> None:
    """Write a checkpoint to give away: small weights, and a card with classes, recipe, data hash and figures.

    \b
    Examples:
      marrowscope export runs/first/best --out marrow_model
      marrowscope export runs/first/best --out marrow_model --full --note limits.md
    """  # noqa: D301 (\b keeps the lines)
    from marrowscope.assemble.detectors import checkpoint_path
    from marrowscope.cells.files import write_atomically
    from marrowscope.errors import BadInput
    from marrowscope.model.checkpoint import WEIGHTS, levelled, load_checkpoint, save_checkpoint

    terminal = Terminal(quiet)
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
    terminal.say(f"Next: marrowscope detect {out} PICTURES --out found")


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
        f"- {weights / 1e6:.2f} million numbers, {'float16' if half else 'float32'}",
        f"- epoch {checkpoint.epoch}; made by marrowscope {checkpoint.code_version}",
        f"- training data (SHA-256 of labels and image sizes): `{checkpoint.data_hash or 'not recorded'}`",
        "",
        "## Validation",
        "",
        f"Score threshold {checkpoint.score_threshold:.4f}, where macro F1 on the validation fields was best. "
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
