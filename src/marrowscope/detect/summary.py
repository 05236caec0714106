"""The differential of a run as files: JSON to compute with, CSV for a spreadsheet, Markdown to read.

Every percentage carries its exact 95 % interval. It is a count of detections: a person has not looked at them. Where it
is known how the detector confuses cells, what that makes of the shares stands beside the raw count (`cells.adjusted`).
"""

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from marrowscope.cells.adjusted import AdjustedDifferential, AdjustedShare
from marrowscope.cells.differential import Differential, Share
from marrowscope.cells.files import write_atomically

CORRECTED = (
    "Corrected: the shares if cells are confused here as those of the checkpoint's validation fields were. "
    "The interval holds the sampling of cells, and what is not known of the confusion."
)


def write_differential(differential: Differential, folder: Path, adjusted: AdjustedDifferential | None = None) -> None:
    """Write `differential.json`, `.csv` and `.md`."""
    values = json.dumps(differential_values(differential, adjusted), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(folder / "differential.json", values + "\n")
    write_atomically(folder / "differential.csv", differential_csv(differential, adjusted))
    write_atomically(folder / "differential.md", differential_markdown(differential, adjusted))


def differential_values(differential: Differential, adjusted: AdjustedDifferential | None = None) -> dict[str, Any]:
    """Plain values for JSON; an end of an interval that is infinite, or a ratio without erythroid cells, is null."""
    ratio = differential.myeloid_erythroid
    return {
        "total": differential.total,
        "classes": {c.name: {"lineage": str(c.lineage), **_share(s)} for c, s in differential.classes},
        "lineages": {str(lineage): _share(s) for lineage, s in differential.lineages},
        "uncounted": {c.name: n for c, n in differential.uncounted},
        "myeloid_erythroid": {
            "myeloid": ratio.myeloid,
            "erythroid": ratio.erythroid,
            "ratio": ratio.ratio,
            "interval": [x if math.isfinite(x) else None for x in ratio.interval],
        },
        "adjusted": adjusted
        and {
            "classes": {c.name: _adjusted(s) for c, s in adjusted.classes},
            "lineages": {str(lineage): _adjusted(s) for lineage, s in adjusted.lineages},
        },
    }


def _share(share: Share) -> dict[str, Any]:
    return {"count": share.count, "percent": share.percent, "interval": list(share.interval)}


def _adjusted(share: AdjustedShare) -> dict[str, Any]:
    return {"percent": share.percent, "interval": list(share.interval)}


def differential_csv(differential: Differential, adjusted: AdjustedDifferential | None = None) -> str:
    """One row a class, then one a lineage; percentages with one more decimal than a count of 1000 can bear."""
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n")
    heading = ["kind", "name", "code", "lineage", "count", "total", "percent", "low_95", "high_95"]
    write.writerow([*heading, *(f"adjusted_{x}" for x in heading[-3:])])
    classes, lineages = _beside(differential, adjusted)
    for (cell, share), corrected in zip(differential.classes, classes, strict=True):
        write.writerow(["class", cell.name, cell.code, str(cell.lineage), *_row(share), *_adjusted_row(corrected)])
    for (lineage, share), corrected in zip(differential.lineages, lineages, strict=True):
        write.writerow(["lineage", str(lineage), "", str(lineage), *_row(share), *_adjusted_row(corrected)])
    return out.getvalue()


def _beside(
    differential: Differential, adjusted: AdjustedDifferential | None
) -> tuple[Sequence[AdjustedShare | None], Sequence[AdjustedShare | None]]:
    """The corrected share of each class and lineage, None where nothing was corrected."""
    if adjusted is None:
        return [None] * len(differential.classes), [None] * len(differential.lineages)
    return [s for _, s in adjusted.classes], [s for _, s in adjusted.lineages]


def _adjusted_row(share: AdjustedShare | None) -> list[str]:
    return ["", "", ""] if share is None else [f"{x:.2f}" for x in (share.percent, *share.interval)]


def _row(share: Share) -> list[str]:
    percent = "" if share.percent is None else f"{share.percent:.2f}"
    return [str(share.count), str(share.total), percent, *(f"{x:.2f}" for x in share.interval)]


def differential_markdown(differential: Differential, adjusted: AdjustedDifferential | None = None) -> str:
    """A table by lineage, the least mature cell first, lineages in bold."""
    corrected = adjusted is not None
    lines = [
        f"# Differential of {differential.total} cells",
        "",
        "Counted from detections that no person has reviewed. Percent of nucleated cells (exact 95 % interval).",
        *([CORRECTED] if corrected else []),
        "",
        "| cell | count | percent |" + (" corrected |" if corrected else ""),
        "|---|---:|---:|" + ("---:|" if corrected else ""),
    ]
    of_classes, of_lineages = _beside(differential, adjusted)
    rows = [(cell, share, more) for (cell, share), more in zip(differential.classes, of_classes, strict=True)]
    for (lineage, whole), more in zip(differential.lineages, of_lineages, strict=True):
        bold = [str(lineage), str(whole.count), str(whole), *([str(more)] if corrected else [])]
        lines.append("| " + " | ".join(f"**{x}**" for x in bold) + " |")
        mine = sorted((r for r in rows if r[0].lineage == lineage), key=lambda row: row[0].stage or math.inf)
        for cell, share, own in mine:
            plain = [cell.name, str(share.count), str(share), *([str(own)] if corrected else [])]
            lines.append("| " + " | ".join(plain) + " |")
    ratio = differential.myeloid_erythroid
    lines += ["", f"Myeloid : erythroid = {ratio.myeloid} : {ratio.erythroid} = {ratio}"]
    if differential.uncounted:
        seen = ", ".join(f"{c.name} {n}" for c, n in differential.uncounted)
        lines += ["", f"Seen but not counted: {seen}"]
    return "\n".join(lines) + "\n"
