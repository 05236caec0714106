"""Content -> HL7 v2.5.1: an ORU^R01 message, as hospital interfaces take it (`mllp` sends it).

Every share is an OBX (NM, %) with its reference range and `H` or `L`; its exact 95 % interval (SN, `^16.0^-^23.1`) and
its count (NM) follow with the same sub-id (OBX-4). Ratios alike. Conclusion and comments are FT, the PDF is ED.
Codes are LOINC where one was found (`loinc.toml`), else marrowscope's own (`99MARROWSCOPE`: `class.MYELO`,
`class.MYELO.cells`, `class.MYELO.interval-95`), with SNOMED CT's code of the cell beside it. Patients are named by the
lab's code alone. The filler order number is the specimen's code in every version, so that an amended report (`C`)
replaces the one before it. The same report gives the same message, its control id (MSH-10) too: a receiver knows one
that was sent twice.

Written without a library, because the one there is (hl7apy, which judges this module in the tests) lets an escape
sequence that somebody typed pass for its own.
"""

import base64
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from marrowscope.cells.taxonomy import OWN_CODES
from marrowscope.errors import BadInput
from marrowscope.report import words
from marrowscope.report.content import IndexLine, Language, ReportContent, ShareLine, Signature, UsualRange
from marrowscope.report.fhir import loinc_table
from marrowscope.report.words import LABELS, Said

SENDER = "MARROWSCOPE"

_ESCAPED = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "~": "\\R\\", "&": "\\T\\"}
# Control characters mean the end of a segment or of a message to the one that reads.
_SAFE = str.maketrans({chr(n): " " for n in (*range(32), *range(127, 160), 0x2028, 0x2029)} | _ESCAPED)
_SHORT = 20
"""Characters: the longest name of a facility (HD.1)."""


def oru_message(content: ReportContent, pdf: bytes | None = None) -> str:
    """The message; segments end with a carriage return. To be sent as UTF-8. pdf: as it was signed.

    BadInput for a report that nobody signed.
    """
    if content.signature is None:
        raise BadInput("an HL7 message is made of a signed report, and this one is a draft. Sign it first.")
    return _Writer(content, content.signature).message(pdf)


def escaped(text: str) -> str:
    """A text as it stands in a field: delimiters as escape sequences, control characters and line ends as blanks."""
    return text.translate(_SAFE)


def formatted(text: str) -> str:
    r"""A text of several lines as FT: `\.br\` between them."""
    return "\\.br\\".join(escaped(line) for line in text.splitlines())


class _Writer:
    """Writes the segments of one report, in order."""

    def __init__(self, content: ReportContent, signature: Signature) -> None:
        self.content, self.signature = content, signature
        self.status = "C" if content.amendment else "F"
        self.facility = content.letterhead.laboratory.strip()
        self.segments: list[str] = []
        self.observations = self.groups = self.notes = 0

    def message(self, pdf: bytes | None) -> str:
        self._head()
        for said in words.remarks(self.content):
            self._note(said.line(self.content.language))
        self._numbers()
        self._texts()
        if pdf is not None:
            code = self._code("report.pdf", Said("report as PDF", "报告 (PDF)"))
            data = base64.b64encode(pdf).decode("ascii")
            self._observe("ED", code, _components("", "application", "pdf", "Base64", data))
        self._specimen()
        return "".join(segment + "\r" for segment in self.segments)

    def _head(self) -> None:
        c, s = self.content, self.content.specimen
        filler = _components(s.code, SENDER)
        report = self._code("report.marrow-cytology", LABELS["title"], loinc_table()["report"])
        self._add(
            "MSH",
            {
                2: "^~\\&",
                3: SENDER,
                4: escaped(self.facility[:_SHORT]),
                7: _moment(c.made_at),
                9: "ORU^R01^ORU_R01",
                10: c.digest[:_SHORT].upper(),
                11: "P",
                12: "2.5.1",
                18: "UNICODE UTF-8",
                19: "zh" if c.language is Language.CHINESE else "en",
            },
        )
        patient = _components(s.patient_code, "", "", self.facility[:_SHORT], "PI")
        # A name is required; this is how HL7 says that none is known.
        self._add("PID", {1: "1", 3: patient, 5: "~^^^^^^U"})
        self._add("ORC", {1: "RE", 3: filler})
        self._add(
            "OBR",
            {
                1: "1",
                3: filler,
                4: report,
                7: _day(s.taken_on),
                22: _moment(self.signature.at),
                24: "HM",
                25: self.status,
                32: f"{escaped(self.signature.user)}&{escaped(self.signature.name)}",
            },
        )

    def _numbers(self) -> None:
        c, table = self.content, loinc_table()
        known = table["classes"]
        for line in c.classes:
            name = Said(line.name, line.chinese)
            self._share(f"class.{line.code}", name, line.share, known.get(line.code), line.snomed_ct)
        for group in c.groups:
            self._share(f"group.{'+'.join(group.codes)}", Said(group.name, group.chinese), group.share)
        for whole in c.lineages:
            key = whole.lineage.value
            self._share(f"lineage.{key}", words.LINEAGES[whole.lineage], whole.share, table["lineages"].get(key))
        for index in c.indices:
            self._index(index, table["indices"].get(index.key))
        self._count("count.cells", LABELS["counted"], c.total, table["cells_counted"])
        self._count("count.reviewed", LABELS["reviewed"], c.specimen.reviewed)
        for seen in c.uncounted:
            name, outside = Said(seen.name, seen.chinese), LABELS["outside"]
            self._count(
                f"seen.{seen.code}", Said(*(f"{a}: {b}" for a, b in zip(outside, name, strict=True))), seen.count
            )

    def _texts(self) -> None:
        c = self.content
        for key, text in (("conclusion", c.conclusion), ("comments", c.comments)):
            if text.strip():
                self._observe("FT", self._code(f"report.{key}", LABELS[key]), formatted(text.strip()))
        self._count("report.version", LABELS["version"], c.version)

    def _specimen(self) -> None:
        s = self.content.specimen
        slides = ", ".join(f"{x.label} ({x.stain})" for x in s.slides)
        ours = f"^{escaped(s.code)}&{SENDER}"
        material = _components("", s.material)
        self._add("SPM", {1: "1", 2: ours, 4: material, 14: escaped(slides), 17: _day(s.taken_on)})

    def _share(
        self, code: str, name: Said, share: ShareLine, loinc: Mapping[str, str] | None = None, snomed: str = ""
    ) -> None:
        self.groups += 1
        self._value(self._code(code, name, loinc, snomed), share.percent, "%^percent^UCUM", share.usual, share)
        if share.percent is not None:
            self._interval(code, name, share.low, share.high, "%^percent^UCUM")
        self._part(code, "cells", name, LABELS["n"], share.count)

    def _index(self, line: IndexLine, loinc: Mapping[str, str] | None) -> None:
        self.groups += 1
        code = f"index.{line.key}"
        name = words.INDICES.get(line.key, Said(line.name, line.name))
        self._value(self._code(code, name, loinc), line.value, "{ratio}^ratio^UCUM", line.usual, line)
        if line.high is not None:
            self._interval(code, name, line.low, line.high, "{ratio}^ratio^UCUM")
        formula = words.formula(line)
        for part, which, number in (("top", 0, line.top), ("bottom", -1, line.bottom)):
            self._part(code, part, name, Said(*(text.split(" : ")[which] for text in formula)), number)

    def _value(
        self, code: str, value: float | None, unit: str, usual: UsualRange | None, line: ShareLine | IndexLine
    ) -> None:
        flag = "" if line.flagged is None else line.flagged.flag.value[0].upper()
        # X: no result could be obtained, since nothing was counted.
        more = {6: unit, 7: _range(usual), 8: flag} if value is not None else {11: "X"}
        self._observe("NM", code, "" if value is None else _number(value), more, grouped=True)
        if line.flagged is not None and not line.flagged.certain:
            text = Said("its 95 % interval touches the reference range", "其 95% 区间与参考范围重叠")
            self._note(text.line(self.content.language))

    def _interval(self, code: str, name: Said, low: float, high: float, unit: str) -> None:
        value = f"^{_number(low)}^-^{_number(high)}"
        observed = self._code(f"{code}.interval-95", _of(name, LABELS["interval"]))
        self._observe("SN", observed, value, {6: unit}, grouped=True)

    def _part(self, code: str, part: str, name: Said, of: Said, number: int) -> None:
        self._observe(
            "NM", self._code(f"{code}.{part}", _of(name, of)), str(number), {6: "{cells}^cells^UCUM"}, grouped=True
        )

    def _count(self, code: str, name: Said, number: int, loinc: Mapping[str, str] | None = None) -> None:
        self._observe("NM", self._code(code, name, loinc), str(number))

    def _observe(
        self, kind: str, code: str, value: str, more: Mapping[int, str] | None = None, *, grouped: bool = False
    ) -> None:
        """An OBX. value: as it stands in the field. more: other fields by their number."""
        self.observations += 1
        self.notes = 0
        self._add(
            "OBX",
            {
                1: str(self.observations),
                2: kind,
                3: code,
                4: str(self.groups) if grouped else "",
                5: value,
                11: self.status,
                14: _day(self.content.specimen.taken_on),
                16: _components(self.signature.user, self.signature.name),
                19: _moment(self.signature.at),
                23: escaped(self.facility),
                **(more or {}),
            },
        )

    def _note(self, text: str) -> None:
        self.notes += 1
        self._add("NTE", {1: str(self.notes), 2: "L", 3: formatted(text)})

    def _code(self, code: str, name: Said, loinc: Mapping[str, Any] | None = None, snomed: str = "") -> str:
        """CE: LOINC and ours, else ours and SNOMED CT's."""
        text = name.line(self.content.language)
        if loinc:
            return _components(loinc["code"], loinc["display"], "LN", code, text, OWN_CODES)
        return _components(code, text, OWN_CODES, *((snomed, name.en, "SCT") if snomed else ()))

    def _add(self, name: str, fields: Mapping[int, str]) -> None:
        # The first field of MSH is the separator itself.
        first = 2 if name == "MSH" else 1
        values = [fields.get(n, "") for n in range(first, max(fields) + 1)]
        self.segments.append("|".join([name, *values]).rstrip("|"))


def _of(name: Said, part: Said) -> Said:
    return Said(f"{name.en}, {part.en}", f"{name.zh}，{part.zh}")


def _components(*parts: str) -> str:
    return "^".join(escaped(part) for part in parts).rstrip("^")


def _number(value: float) -> str:
    """All of its six decimals, without an exponent, which NM does not know."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _range(usual: UsualRange | None) -> str:
    if usual is None or (usual.low is None and usual.high is None):
        return ""
    if usual.high is None:
        return f">{_number(usual.low or 0)}"
    return f"<{_number(usual.high)}" if usual.low is None else f"{_number(usual.low)}-{_number(usual.high)}"


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y%m%d%H%M%S%z")


def _day(day: date | None) -> str:
    return "" if day is None else day.strftime("%Y%m%d")
