"""The differential of a run as files: JSON to compute with, CSV for a spreadsheet, Markdown to read.

Every percentage carries its exact 95 % interval. It is a count of detections: a person has not looked at them.
"""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

from marrowscope.cells.differential import Differential, Share
from marrowscope.cells.files import write_atomically


def write_differential(differential: Differential, folder: Path) -> None:
    """Write `differential.json`, `.csv` and `.md`."""
    values = json.dumps(differential_values(differential), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(folder / "differential.json", values + "\n")
    write_atomically(folder / "differential.csv", differential_csv(differential))
    write_atomically(folder / "differential.md", differential_markdown(differential))


def differential_values(differential: Differential) -> dict[str, Any]:
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
    }


def _share(share: Share) -> dict[str, Any]:
    return {"count": share.count, "percent": share.percent, "interval": list(share.interval)}


def differential_csv(differential: Differential) -> str:
    """One row a class, then one a lineage; percentages with one more decimal than a count of 1000 can bear."""
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n")
    write.writerow(["kind", "name", "code", "lineage", "count", "total", "percent", "low_95", "high_95"])
    for cell, share in differential.classes:
        write.writerow(["class", cell.name, cell.code, str(cell.lineage), *_row(share)])
    for lineage, share in differential.lineages:
        write.writerow(["lineage", str(lineage), "", str(lineage), *_row(share)])
    return out.getvalue()


def _row(share: Share) -> list[str]:
    percent = "" if share.percent is None else f"{share.percent:.2f}"
    return [str(share.count), str(share.total), percent, *(f"{x:.2f}" for x in share.interval)]


def differential_markdown(differential: Differential) -> str:
    """A table by lineage, the least mature cell first, lineages in bold."""
    lines = [
        f"# Differential of {differential.total} cells",
        "",
        "Counted from detections that no person has reviewed. Percent of nucleated cells (exact 95 % interval).",
        "",
        "| cell | count | percent |",
        "|---|---:|---:|",
    ]
    for lineage, whole in differential.lineages:
        lines.append(f"| **{lineage}** | **{whole.count}** | **{whole}** |")
        rows = [(c, s) for c, s in differential.classes if c.lineage == lineage]
        for cell, share in sorted(rows, key=lambda row: row[0].stage or math.inf):
            lines.append(f"| {cell.name} | {share.count} | {share} |")
    ratio = differential.myeloid_erythroid
    lines += ["", f"Myeloid : erythroid = {ratio.myeloid} : {ratio.erythroid} = {ratio}"]
    if differential.uncounted:
        seen = ", ".join(f"{c.name} {n}" for c, n in differential.uncounted)
        lines += ["", f"Seen but not counted: {seen}"]
    return "\n".join(lines) + "\n"
