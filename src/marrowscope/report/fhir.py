"""Content -> FHIR R4: a bundle of a DiagnosticReport, a panel Observation, its members, and the Specimen.

Every share and ratio is an Observation of its own: the value with its UCUM unit, the exact 95 % interval and the counts
as components, the reference range with its source, `H` or `L` where it lies outside. Codes are LOINC where one was
found (`loinc.toml`), else SNOMED CT's code of the cell, and always marrowscope's own. Patients are named by the lab's
code alone. The PDF travels in `presentedForm`. Ids are derived from the content, so the same report gives the same
bundle.

The profile-free R4 resources are used; `fhir.resources` validates them in the tests.
"""

import base64
import hashlib
import tomllib
import uuid
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from marrowscope.report import words
from marrowscope.report.content import Flagged, IndexLine, ReportContent, ShareLine, UsualRange

LOCAL = "urn:x-marrowscope"
LOINC, SNOMED, UCUM = "http://loinc.org", "http://snomed.info/sct", "http://unitsofmeasure.org"
_HL7 = "http://terminology.hl7.org/CodeSystem"
_NAMES = uuid.UUID("5d0b6c1e-6a2f-5f0e-9c7b-3a1d1f6e8b42")

Resource = dict[str, Any]


def diagnostic_report(content: ReportContent, pdf: bytes | None = None) -> Resource:
    """The bundle as plain values for JSON. pdf: as it was signed."""
    return _Writer(content).bundle(pdf)


@cache
def loinc_table() -> Mapping[str, Any]:
    """`loinc.toml`."""
    text = (resources.files("marrowscope.report") / "loinc.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


class _Writer:
    """Writes the resources of one report; each knows the others by their full URL."""

    def __init__(self, content: ReportContent) -> None:
        self.content, self.members = content, list[Resource]()
        self.status = ("amended" if content.amendment else "final") if content.signature else "preliminary"
        self.patient = {
            "identifier": {"system": f"{LOCAL}:patient", "value": content.specimen.patient_code},
            "type": "Patient",
        }
        models = [f"{m.name} (SHA-256 {m.digest[:12]})" for m in content.method.models]
        self.method = {
            "text": "; ".join([f"{content.method.software} {content.method.version}", *models, "reviewed by a person"])
        }

    def url(self, part: str) -> str:
        return f"urn:uuid:{uuid.uuid5(_NAMES, f'{self.content.digest}/{part}')}"

    def bundle(self, pdf: bytes | None) -> Resource:
        c = self.content
        for line in c.classes:
            codes = [_local("cell-class", line.code, line.name)]
            if line.snomed_ct:
                codes.insert(0, {"system": SNOMED, "code": line.snomed_ct, "display": line.name})
            codes[:0] = _loinc("classes", line.code)
            self._share(f"class/{line.code}", codes, f"{line.name} / nucleated cells", line.share)
        for group in c.groups:
            code = "+".join(group.codes)
            self._share(
                f"group/{code}",
                [_local("cell-class", code, group.name)],
                f"{group.name} / nucleated cells",
                group.share,
            )
        for whole in c.lineages:
            name = words.LINEAGES[whole.lineage].en
            codes = [*_loinc("lineages", whole.lineage.value), _local("lineage", whole.lineage.value, name)]
            self._share(f"lineage/{whole.lineage.value}", codes, f"{name} / nucleated cells", whole.share)
        for index in c.indices:
            self._index(index)
        total = [_known(loinc_table()["cells_counted"]), _local("count", "cells-counted", "cells counted")]
        self._member("total", total, "cells counted", {"valueInteger": c.total})
        for seen in c.uncounted:
            codes = [_local("cell-class", seen.code, seen.name)]
            self._member(
                f"seen/{seen.code}", codes, f"{seen.name}, not in the differential", {"valueInteger": seen.count}
            )
        entries = [self._report(pdf), self._panel(), *self.members, self._specimen()]
        return {
            "resourceType": "Bundle",
            "type": "collection",
            "timestamp": _instant(c),
            "identifier": {"system": f"{LOCAL}:report", "value": f"{c.specimen.code}/{c.version}"},
            "entry": [{"fullUrl": f"urn:uuid:{entry['id']}", "resource": entry} for entry in entries],
        }

    def _made(self, kind: str, part: str, values: Resource) -> Resource:
        return {"resourceType": kind, "id": self.url(part).removeprefix("urn:uuid:"), **values}

    def _observation(self, part: str, codes: list[Resource], text: str, values: Resource) -> Resource:
        c = self.content
        base: Resource = {
            "status": self.status,
            "category": [{"coding": [{"system": f"{_HL7}/observation-category", "code": "laboratory"}]}],
            "code": {"coding": codes, "text": text},
            "subject": self.patient,
            "specimen": {"reference": self.url("specimen")},
            "issued": _instant(c),
        }
        if c.specimen.taken_on:
            base["effectiveDateTime"] = c.specimen.taken_on.isoformat()
        return self._made("Observation", part, base | values)

    def _member(self, part: str, codes: list[Resource], text: str, values: Resource) -> None:
        self.members.append(self._observation(part, codes, text, values | {"method": self.method}))

    def _share(self, part: str, codes: list[Resource], text: str, share: ShareLine) -> None:
        values = _value(share.percent, "%", "%") | _usual(share.usual, share.flagged, "%", "%")
        components = [_component("cells", "cells", {"valueInteger": share.count})]
        components.append(_component("reviewed", "of them reviewed by a person", {"valueInteger": share.reviewed}))
        if share.percent is not None:
            components.append(_interval(share.low, share.high, "%", "%"))
        self._member(part, codes, text, values | {"component": components})

    def _index(self, line: IndexLine) -> None:
        unit = "{ratio}"
        values = _value(line.value, "ratio", unit) | _usual(line.usual, line.flagged, "ratio", unit)
        components = [
            _component("top", line.formula.split(" : ")[0], {"valueInteger": line.top}),
            _component("bottom", line.formula.split(" : ")[-1], {"valueInteger": line.bottom}),
        ]
        if line.high is not None:
            components.append(_interval(line.low, line.high, "ratio", unit))
        codes = [*_loinc("indices", line.key), _local("index", line.key, line.name)]
        self._member(f"index/{line.key}", codes, line.name, values | {"component": components})

    def _panel(self) -> Resource:
        c = self.content
        notes = [words.verdict_text(c.verdict).en]
        notes += [words.cutoff_text(x).en for x in c.verdict.cutoffs]
        notes += [said.en for said in words.cautions_text(c)]
        values = {
            "hasMember": [{"reference": f"urn:uuid:{m['id']}"} for m in self.members],
            "note": [{"text": text} for text in notes],
        }
        codes = [_local("panel", "marrow-differential", "differential of nucleated marrow cells")]
        return self._observation("panel", codes, "Bone marrow differential", values)

    def _specimen(self) -> Resource:
        s = self.content.specimen
        values: Resource = {
            "identifier": [{"system": f"{LOCAL}:specimen", "value": s.code}],
            "type": {"text": s.material},
            "subject": self.patient,
        }
        if s.taken_on:
            values["collection"] = {"collectedDateTime": s.taken_on.isoformat()}
        if s.slides:
            values["note"] = [{"text": f"slide {x.label}, {x.stain}"} for x in s.slides]
        return self._made("Specimen", "specimen", values)

    def _report(self, pdf: bytes | None) -> Resource:
        c = self.content
        values: Resource = {
            "identifier": [{"system": f"{LOCAL}:report", "value": f"{c.specimen.code}/{c.version}"}],
            "status": self.status,
            "category": [{"coding": [{"system": f"{_HL7}/v2-0074", "code": "HM", "display": "Hematology"}]}],
            "code": {
                "coding": [_local("report", "marrow-cytology", "bone marrow cytology report")],
                "text": "Bone marrow aspirate, cytology report",
            },
            "subject": self.patient,
            "specimen": [{"reference": self.url("specimen")}],
            "issued": _instant(c),
            "result": [{"reference": self.url("panel")}],
        }
        if c.specimen.taken_on:
            values["effectiveDateTime"] = c.specimen.taken_on.isoformat()
        if c.letterhead.laboratory.strip():
            values["performer"] = [{"type": "Organization", "display": c.letterhead.laboratory.strip()}]
        if c.signature:
            signer = {"system": f"{LOCAL}:user", "value": c.signature.user}
            values["resultsInterpreter"] = [{"type": "Practitioner", "identifier": signer, "display": c.signature.name}]
        if text := _conclusion(c):
            values["conclusion"] = text
        if pdf is not None:
            values["presentedForm"] = [
                {
                    "contentType": "application/pdf",
                    "language": "zh" if c.language.value == "zh" else "en",
                    "data": base64.b64encode(pdf).decode("ascii"),
                    "size": len(pdf),
                    # FHIR R4 wants SHA-1 here; it guards against damage, not against people.
                    "hash": base64.b64encode(hashlib.sha1(pdf, usedforsecurity=False).digest()).decode("ascii"),
                    "title": f"{c.specimen.code}, version {c.version}",
                    "creation": _instant(c),
                }
            ]
        return self._made("DiagnosticReport", "report", values)


def _conclusion(c: ReportContent) -> str:
    amended = f"AMENDED, replaces version {c.amendment.replaces}: {c.amendment.reason}" if c.amendment else ""
    return "\n\n".join(text for text in (amended, c.conclusion.strip(), c.comments.strip()) if text)


def _instant(c: ReportContent) -> str:
    return c.made_at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _local(kind: str, code: str, display: str) -> Resource:
    return {"system": f"{LOCAL}:{kind}", "code": code, "display": display}


def _known(entry: Mapping[str, str]) -> Resource:
    return {"system": LOINC, "code": entry["code"], "display": entry["display"]}


def _loinc(table: str, key: str) -> list[Resource]:
    entry = loinc_table().get(table, {}).get(key)
    return [_known(entry)] if entry else []


def _quantity(value: float, unit: str, code: str) -> Resource:
    return {"value": value, "unit": unit, "system": UCUM, "code": code}


def _value(value: float | None, unit: str, code: str) -> Resource:
    if value is not None:
        return {"valueQuantity": _quantity(value, unit, code)}
    why = {"system": f"{_HL7}/data-absent-reason", "code": "not-applicable", "display": "Not Applicable"}
    return {"dataAbsentReason": {"coding": [why], "text": "nothing was counted"}}


def _component(code: str, text: str, value: Resource) -> Resource:
    return {"code": {"coding": [_local("component", code, text)], "text": text}, **value}


def _interval(low: float, high: float, unit: str, code: str) -> Resource:
    ends = {"low": _quantity(low, unit, code), "high": _quantity(high, unit, code)}
    return _component("interval-95", "exact 95 % confidence interval (Clopper-Pearson)", {"valueRange": ends})


def _usual(usual: UsualRange | None, flagged: Flagged | None, unit: str, code: str) -> Resource:
    values: Resource = {}
    if usual is not None:
        limits = {"low": usual.low, "high": usual.high}
        ends = {key: _quantity(x, unit, code) for key, x in limits.items() if x is not None}
        kind = {"coding": [{"system": f"{_HL7}/referencerange-meaning", "code": "normal"}]}
        values["referenceRange"] = [{**ends, "type": kind, "text": f"{usual.text} {unit} ({usual.source})"}]
    if flagged is not None:
        letter = "H" if flagged.flag.value == "high" else "L"
        touches = "" if flagged.certain else ", its 95 % interval touches the reference range"
        coding = {"system": f"{_HL7}/v3-ObservationInterpretation", "code": letter}
        values["interpretation"] = [{"coding": [coding], "text": f"{flagged.flag.value}{touches}"}]
    return values
