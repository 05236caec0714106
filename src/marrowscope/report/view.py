"""What stands where on the page: a report's content -> plain texts and numbers, in its language, ready to be set.

The PDF and the print page are made from the same view, so that they say the same. Every text is a pair: `a` is read
first, `b` is its Chinese beside it where both tongues were asked for, else empty.
"""

from collections.abc import Sequence
from typing import Any

from marrowscope.cells.reference import Flag
from marrowscope.cells.stop_rule import Standing
from marrowscope.report import content as c
from marrowscope.report import words
from marrowscope.report.words import LABELS, Said

Pair = dict[str, str]
View = dict[str, Any]
BLAST_STAGE = 1


def pair(said: Said, language: c.Language) -> Pair:
    """What is read first, and what stands beside it."""
    if language is c.Language.CHINESE:
        return {"a": said.zh, "b": ""}
    second = said.zh if language is c.Language.BOTH and said.zh != said.en else ""
    return {"a": said.en, "b": second}


def view_of(content: c.ReportContent) -> View:
    """The whole page as plain values. Pictures are named by their SHA-256; a renderer supplies them."""
    language = content.language

    def p(said: Said) -> Pair:
        return pair(said, language)

    names = {code: Said(*both) for code, both in content.names.items()}
    return {
        "language": "zh" if language is c.Language.CHINESE else "en",
        "labels": {key: p(said) for key, said in LABELS.items()},
        "bilingual": language is c.Language.BOTH,
        "title": p(LABELS["title"]),
        "draft": not content.signed,
        "letterhead": content.letterhead.model_dump(exclude={"logo"}),
        "specimen": content.specimen.code,
        "patient": content.specimen.patient_code,
        "version": content.version,
        "digest": content.digest[:16],
        "made_at": _utc(content),
        "amendment": _amendment(content),
        "facts": _facts(content, p),
        "table": _table(content, names, p),
        "indices": [_index(x, p) for x in content.indices],
        "verdict": _verdict(content.verdict, p),
        "cautions": [p(said) for said in words.cautions_text(content)],
        "conclusion": _paragraphs(content.conclusion),
        "comments": _paragraphs(content.comments),
        "pictures": [_picture(x) for x in content.pictures],
        "gallery": _gallery(content, names, p),
        "method": _method(content, language),
        "references": [f"{s.name} ({s.dated}): {s.source}. {s.note}".strip() for s in content.references],
        "signature": _signature(content, language),
    }


def _paragraphs(text: str) -> list[str]:
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n") if text.strip() else []


def _utc(content: c.ReportContent) -> str:
    return content.made_at.strftime("%Y-%m-%d %H:%M UTC")


def _amendment(content: c.ReportContent) -> View | None:
    if (a := content.amendment) is None:
        return None
    when = a.signed_at.strftime("%Y-%m-%d %H:%M UTC")
    said = Said(
        f"replaces version {a.replaces}, signed {when} by {a.signer}",
        f"替代第 {a.replaces} 版 ({when}，{a.signer} 签发)",
    )
    return {"replaces": pair(said, content.language), "reason": a.reason}


def _facts(content: c.ReportContent, p: Any) -> list[View]:
    s = content.specimen
    share = f" ({100 * s.reviewed / s.cells:.0f} %)" if s.cells else ""
    slides = ", ".join(f"{x.label} ({x.stain})" for x in s.slides) or "–"
    values = (
        ("specimen", s.code),
        ("patient", s.patient_code),
        ("material", s.material),
        ("taken", s.taken_on.isoformat() if s.taken_on else "–"),
        ("slides", slides),
        ("fields", str(s.fields)),
        ("counted", str(s.cells)),
        ("reviewed", f"{s.reviewed} / {s.cells}{share}"),
    )
    return [{"label": p(LABELS[key]), "value": value} for key, value in values]


def _shown(line: c.ClassLine) -> bool:
    """A row of its own: what was seen, what has a range, and blasts, whose absence is a finding."""
    return line.share.count > 0 or line.share.usual is not None or line.stage == BLAST_STAGE or line.code == "PLASMA"


def _table(content: c.ReportContent, names: dict[str, Said], p: Any) -> View:
    shown = [line for line in content.classes if _shown(line)]
    sections = []
    for whole in content.lineages:
        rows = [line for line in shown if line.lineage == whole.lineage]
        rows.sort(key=lambda line: 99 if line.stage is None else line.stage)
        groups = [line for line in content.groups if line.lineage == whole.lineage]
        if whole.share.count or rows:
            sections.append(
                {
                    **_row(p(words.LINEAGES[whole.lineage]), whole.share),
                    "rows": [{**_row(p(names[x.code]), x.share), "group": False} for x in rows]
                    + [{**_row(p(Said(f"Σ {x.name}", f"Σ {x.chinese}")), x.share), "group": True} for x in groups],
                }
            )
    lines: list[c.ShareLine] = [line.share for line in shown] + [line.share for line in content.groups]
    ends = [x.high for x in lines if content.total] + [x.usual.high for x in lines if x.usual and x.usual.high]
    hidden = [p(names[x.code]) for x in content.classes if not _shown(x)]
    outside = [({"a": f"{n['a']} {x.count}", "b": n["b"]}) for x in content.uncounted for n in [p(names[x.code])]]
    return {
        "axis": _axis(max(ends, default=10.0)),
        "sections": sections,
        "none_seen": _listed(hidden),
        "outside": _listed(outside),
        "total": content.total,
        "reviewed": content.specimen.reviewed,
    }


def _listed(items: Sequence[Pair]) -> str:
    return ", ".join(f"{x['a']} {x['b']}".strip() for x in items)


def _row(name: Pair, share: c.ShareLine) -> View:
    empty = share.percent is None
    return {
        "name": name,
        "n": str(share.count),
        "percent": words.number(share.percent),
        "interval": "–" if empty else words.interval(share.low, share.high),
        "value": share.percent,
        "low": share.low,
        "high": share.high,
        "usual": share.usual.text if share.usual else "",
        "usual_low": (share.usual.low or 0.0) if share.usual and share.usual.high is not None else None,
        "usual_high": share.usual.high if share.usual else None,
        "typical": share.usual.typical if share.usual else None,
        **_flag(share.flagged),
    }


def _flag(flagged: c.Flagged | None) -> View:
    if flagged is None:
        return {"flag": "", "certain": False}
    arrow = "↑" if flagged.flag is Flag.HIGH else "↓"
    return {"flag": arrow if flagged.certain else f"({arrow})", "certain": flagged.certain}


def _axis(longest: float) -> View:
    """End of the scale in percent, and its ticks."""
    for end, step in ((10, 5), (20, 5), (30, 10), (40, 10), (60, 20), (80, 20)):
        if longest <= end:
            return {"end": end, "ticks": list(range(0, end + 1, step))}
    return {"end": 100, "ticks": [0, 25, 50, 75, 100]}


def _index(line: c.IndexLine, p: Any) -> View:
    return {
        "name": p(words.INDICES.get(line.key, Said(line.name, line.name))),
        "value": words.number(line.value, 2),
        "interval": "–" if line.high is None else words.interval(line.low, line.high, 2),
        "parts": f"{line.top} : {line.bottom}",
        "formula": p(words.formula(line)),
        "usual": line.usual.text if line.usual else "",
        **_flag(line.flagged),
    }


def _verdict(verdict: c.VerdictBlock, p: Any) -> View:
    groups: dict[tuple[str, int], list[c.CutOffLine]] = {}
    for line in verdict.cutoffs:
        groups.setdefault((line.name, line.count), []).append(line)
    return {
        "stop": verdict.stop,
        "text": p(words.verdict_text(verdict)),
        "open": [p(words.cutoff_text(x)) for x in verdict.cutoffs if x.standing is Standing.STRADDLES],
        "cutoffs": [
            {
                "name": p(words.cutoff_name(lines[0].name)),
                "share": words.share_text(lines[0].percent, lines[0].low, lines[0].high),
                "value": lines[0].percent,
                "low": lines[0].low,
                "high": lines[0].high,
                "lines": [{"at": x.at, "text": f"{x.at:g}", "open": x.standing is Standing.STRADDLES} for x in lines],
                "axis": _axis(max(lines[0].high if lines[0].percent is not None else 0, *(1.3 * x.at for x in lines))),
            }
            for lines in groups.values()
        ],
    }


def _picture(picture: c.FieldPicture) -> View:
    scale = None
    if picture.um_per_px:
        width_um = picture.width * picture.um_per_px
        length = next((n for n in (100, 50, 20, 10, 5, 2, 1) if n <= width_um / 5), 1)
        scale = {"share": length / width_um, "text": f"{length} µm"}
    return {
        "image": picture.image,
        "number": picture.number,
        "slide": picture.slide,
        "ratio": picture.height / picture.width,
        "scale": scale,
        "again": any(not x.counted for x in picture.cells),
        "cells": [
            {
                "x": x.box[0] / picture.width,
                "y": x.box[1] / picture.height,
                "w": (x.box[2] - x.box[0]) / picture.width,
                "h": (x.box[3] - x.box[1]) / picture.height,
                "code": x.code,
                "counted": x.counted,
            }
            for x in picture.cells
        ],
    }


def _gallery(content: c.ReportContent, names: dict[str, Said], p: Any) -> list[View]:
    """The chosen cells by class, in the order of lineage and stage."""
    lineages = [x.lineage for x in content.lineages]
    order = {
        x.code: (lineages.index(x.lineage), 99 if x.stage is None else x.stage, place)
        for place, x in enumerate(content.classes)
    }
    counts = {x.code: x.share.count for x in content.classes} | {x.code: x.count for x in content.uncounted}
    codes = sorted({x.code for x in content.gallery}, key=lambda code: (order.get(code, (99, 99, 99)), code))
    return [
        {
            "name": p(names.get(code, Said(code, code))),
            "code": code,
            "count": counts.get(code, 0),
            "cells": [
                {
                    "place": place,
                    "caption": f"{x.field_number}" + ("" if x.reviewed else " *"),
                }
                for place, x in enumerate(content.gallery)
                if x.code == code
            ],
        }
        for code in codes
    ]


def _method(content: c.ReportContent, language: c.Language) -> list[str]:
    m = content.method
    line = LABELS["model"].line(language, " ")
    by = LABELS["fields_by"].line(language, " ")
    models = [f"{line}: {x.name}, SHA-256 {x.digest[:12]}, {x.scheme}, {x.fields} {by}" for x in m.models]
    if m.fields_without_model:
        models.append(f"{m.fields_without_model} {LABELS['by_hand'].line(language, ' ')}")
    scheme = f"{LABELS['scheme'].line(language, ' ')}: {m.scheme}"
    return [f"{m.software} {m.version}. {LABELS['method_text'].line(language, ' ')} {scheme}.", *models]


def _signature(content: c.ReportContent, language: c.Language) -> list[View] | None:
    if (s := content.signature) is None:
        return None
    role = words.ROLES.get(s.role, Said(s.role, s.role))
    values = (
        ("signer", f"{s.name} ({s.user})"),
        ("role", role.line(language, " ")),
        ("signed_at", f"{s.at.strftime('%Y-%m-%d %H:%M:%S')} UTC ({LABELS['local'].line(language, ' ')} {s.local})"),
        ("meaning", s.meaning),
    )
    return [{"label": pair(LABELS[key], language), "value": value} for key, value in values]
