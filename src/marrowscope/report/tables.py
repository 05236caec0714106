"""Content -> CSV for spreadsheets and statistics, and JSON for programs.

One row a class, group, lineage, index and cut-off; every row names its report, so that files of many reports can be
laid end to end. A spreadsheet takes a text that begins with `=`, `+`, `-` or `@` for a formula and runs it: such a text
gets an apostrophe before it.
"""

import csv
import io
from collections.abc import Iterator

from marrowscope.report.content import Flagged, ReportContent, ShareLine, UsualRange

COLUMNS = (
    "specimen",
    "patient",
    "report_version",
    "status",
    "signed_at",
    "signed_by",
    "kind",
    "code",
    "name",
    "chinese",
    "lineage",
    "count",
    "of",
    "reviewed",
    "value",
    "low_95",
    "high_95",
    "usual_low",
    "usual_high",
    "usual_typical",
    "usual_source",
    "flag",
    "whole_interval_outside",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def json(content: ReportContent) -> str:
    """The whole content; the same content gives the same text."""
    return content.to_json()


def csv_table(content: ReportContent) -> str:
    """The numbers of the report, in percent (indices: ratios), with four decimals."""
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\r\n")
    write.writerow(COLUMNS)
    s, signed = content.specimen, content.signature
    status = ("amended" if content.amendment else "signed") if signed else "draft"
    head = [s.code, s.patient_code, content.version, status]
    head += [signed.at.strftime("%Y-%m-%dT%H:%M:%SZ"), signed.name] if signed else ["", ""]
    for row in _rows(content):
        write.writerow([_plain(value) for value in (*head, *row)])
    return out.getvalue()


def _rows(content: ReportContent) -> Iterator[tuple[object, ...]]:
    total = content.total
    for line in content.classes:
        yield ("class", line.code, line.name, line.chinese, line.lineage.value, *_share(line.share, total))
    for group in content.groups:
        codes = "+".join(group.codes)
        yield ("group", codes, group.name, group.chinese, group.lineage.value, *_share(group.share, total))
    for whole in content.lineages:
        yield ("lineage", whole.lineage.value, "", "", whole.lineage.value, *_share(whole.share, total))
    for seen in content.uncounted:
        yield ("uncounted", seen.code, seen.name, seen.chinese, "", seen.count, *[""] * 11)
    for index in content.indices:
        counts = (index.top, index.bottom, "")
        values = (_number(index.value), _number(index.low) if index.bottom else "", _number(index.high))
        yield ("index", index.key, index.name, "", "", *counts, *values, *_usual(index.usual, index.flagged))
    for cutoff in content.verdict.cutoffs:
        values = (_number(cutoff.percent), _number(cutoff.low), _number(cutoff.high))
        line_of = (cutoff.at, cutoff.at, "", "", cutoff.standing.value, "")
        yield ("cut-off", "", cutoff.name, "", "", cutoff.count, total, "", *values, *line_of)


def _share(share: ShareLine, total: int) -> tuple[object, ...]:
    counts = (share.count, total, share.reviewed)
    return (
        *counts,
        _number(share.percent),
        _number(share.low),
        _number(share.high),
        *_usual(share.usual, share.flagged),
    )


def _usual(usual: UsualRange | None, flagged: Flagged | None) -> tuple[object, ...]:
    limits = (usual.low, usual.high, usual.typical, usual.source) if usual else ("", "", "", "")
    return (*limits, flagged.flag.value if flagged else "", str(flagged.certain).lower() if flagged else "")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _plain(value: object) -> object:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return "" if value is None else value
