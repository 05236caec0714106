"""The review page asks what can be taught, and has it taught."""

from helpers.station import Station
from marrowscope.cells.specimen import Edit, EditKind


def test_a_class_of_which_enough_cells_were_named_is_offered_and_taught(lab: Station) -> None:
    client = lab.client("tess")
    for code, patient in (("S-1", "P-S-1"), ("S-2", "P-S-2")):
        specimen, slide = lab.case(code)
        assert specimen.patient_code == patient
        lab.field(slide, len(code))
        cells = lab.works.store.cells(specimen.id, order="number")[0]
        edits = [Edit(EditKind.RENAME, cell.id, code="PLASMA") for cell in cells]
        lab.works.store.apply(specimen.id, edits, by="tess")
    # One of the two patients is kept for comparing models.
    assert client.get("/api/models/teachable").json() == [
        {"code": "PLASMA", "name": "plasma cell", "cells": 6, "enough": True}
    ]
    made = client.post("/api/models/teach", json={"code": "PLASMA"})
    assert made.status_code == 201, made.text
    assert (made.json()["name"], made.json()["serving"]) == ("blobs + plasma cell", False)
    assert [model["name"] for model in client.get("/api/models").json()] == ["blobs", "blobs + plasma cell"]


def test_what_cannot_be_taught_is_said_in_words(lab: Station) -> None:
    answer = lab.client("tess").post("/api/models/teach", json={"code": "PLASMA"})
    assert answer.status_code == 422
    assert "0 cells named plasma cell" in answer.json()["message"]
