"""Cases, fields and their pictures, cells and what people do to them."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.station import Station
from marrowscope.cells.specimen import Edit, EditKind


@pytest.fixture
def case(lab: Station) -> int:
    """A case with two fields of six cells."""
    specimen, slide = lab.case()
    for seed in (1, 2):
        lab.field(slide, seed)
    return specimen.id


def cells_of(client: Any, case: int, **query: Any) -> list[dict[str, Any]]:
    return client.get(f"/api/specimens/{case}/cells", params=query).json()["items"]


def test_a_case_is_opened_listed_and_found_by_its_codes(lab: Station) -> None:
    client = lab.client("tess")
    made = client.post("/api/specimens", json={"code": "M-26-1", "patient_code": "P7", "taken_on": "2026-05-04"}).json()
    assert (made["state"], made["taken_on"], made["created_by"]) == ("open", "2026-05-04", "tess")
    assert made["created_at"].endswith("Z")
    assert client.post("/api/specimens", json={"code": "M-26-1", "patient_code": "P8"}).status_code == 409
    client.post("/api/specimens", json={"code": "M-26-2", "patient_code": "P8"})
    assert client.get("/api/specimens").json()["total"] == 2
    for text, found in (("26-1", 1), ("p8", 1), ("M-26", 2), ("%", 0), ("nothing", 0)):
        assert client.get("/api/specimens", params={"text": text}).json()["total"] == found, text
    assert client.get("/api/specimens", params={"state": "signed"}).json()["items"] == []
    page = client.get("/api/specimens", params={"limit": 1, "offset": 1}).json()
    assert [item["specimen"]["code"] for item in page["items"]] == ["M-26-1"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"code": ""},
        {"code": "two words"},
        {"code": "nul\x00"},
        {"code": "x" * 65},
        {"patient_code": None},
        {"note": "bell\x07"},
        {"taken_on": "yesterday"},
        {"unknown": 1},
        {"code": 7},
    ],
)
def test_a_case_with_a_wrong_entry_is_refused_in_words(lab: Station, wrong: dict[str, Any]) -> None:
    answer = lab.client("tess").post("/api/specimens", json={"code": "S", "patient_code": "P"} | wrong)
    assert answer.status_code == 422
    assert next(iter(wrong)) in answer.json()["message"]


def test_a_case_tells_of_its_slides_and_fields(lab: Station, case: int) -> None:
    client = lab.client("rea")
    detail = client.get(f"/api/specimens/{case}").json()
    assert [slide["label"] for slide in detail["slides"]] == ["A1"]
    assert (detail["summary"]["fields"], detail["summary"]["cells"]) == (2, 12)
    fields = client.get(f"/api/specimens/{case}/fields").json()
    assert [(f["number"], f["cells"], f["reviewed"]) for f in fields] == [(1, 6, 0), (2, 6, 0)]
    assert client.get(f"/api/fields/{fields[0]['id']}").json()["field"] == fields[0]
    made = lab.client("tess").post(f"/api/specimens/{case}/slides", json={"label": "A1"})
    assert made.status_code == 409


def test_pictures_are_kept_by_the_browser_and_not_sent_twice(lab: Station, case: int) -> None:
    client = lab.client("rea")
    field = client.get(f"/api/specimens/{case}/fields").json()[0]
    cell = cells_of(client, case)[0]
    for url, lasting in (
        (field["image_url"], True),
        (field["thumbnail_url"], True),
        (f"/api/cells/{cell['id']}/crop", False),
    ):
        answer = client.get(url)
        assert ("immutable" in answer.headers["cache-control"]) is lasting
        assert "private" in answer.headers["cache-control"]
        again = client.get(url, headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_a_thumbnail_is_small_and_a_crop_is_a_square_around_its_cell(lab: Station, case: int) -> None:
    client = lab.client("rea")
    field = client.get(f"/api/specimens/{case}/fields").json()[0]
    thumbnail = Image.open(io.BytesIO(client.get(field["thumbnail_url"]).content))
    assert thumbnail.size == (320, 240)
    for cell in cells_of(client, case):
        for size in (64, 128, 300):
            crop = Image.open(io.BytesIO(client.get(f"/api/cells/{cell['id']}/crop", params={"size": size}).content))
            assert crop.size == (size, size)
            grey = np.asarray(crop.convert("L"))
            # The blob is in the middle, the pale ground around it.
            assert grey[size // 2, size // 2] < 128 < grey[2, 2]


def test_a_crop_follows_a_box_that_was_moved(lab: Station, case: int) -> None:
    client = lab.client("tess")
    cell = cells_of(client, case)[0]
    url = f"/api/cells/{cell['id']}/crop"
    before = client.get(url)
    edit = {"kind": "move", "cell_id": cell["id"], "box": [200, 100, 240, 140], "expected": cell["code"]}
    assert client.post(f"/api/specimens/{case}/edits", json={"edits": [edit]}).status_code == 200
    after = client.get(url, headers={"if-none-match": before.headers["etag"]})
    assert after.status_code == 200
    assert after.content != before.content


def test_cells_are_renamed_confirmed_undone_and_remembered(lab: Station, case: int) -> None:
    client = lab.client("tess")
    first, second, *_ = cells_of(client, case)
    edits = [
        {"kind": "rename", "cell_id": first["id"], "code": "MYELO", "expected": first["code"]},
        {"kind": "confirm", "cell_id": second["id"], "expected": second["code"]},
    ]
    done = client.post(f"/api/specimens/{case}/edits", json={"edits": edits, "why": "as seen"}).json()["cells"]
    assert [(c["code"], c["called"], c["reviewed"]) for c in done] == [
        ("MYELO", first["called"], True),
        (second["code"], second["called"], True),
    ]
    told = client.get(f"/api/specimens/{case}/corrections").json()
    assert [(c["by"], c["kind"], c["why"]) for c in told] == [("tess", k, "as seen") for k in ("rename", "confirm")]
    assert {c["id"] for c in cells_of(client, case, reviewed=True)} == {first["id"], second["id"]}
    assert {c["id"] for c in cells_of(client, case, code="MYELO")} == {first["id"]}
    undone = client.post(f"/api/specimens/{case}/undo").json()["cells"]
    assert [(c["code"], c["reviewed"]) for c in undone] == [(first["code"], False), (second["code"], False)]
    assert client.post(f"/api/specimens/{case}/undo").json() == {"cells": []}


def test_a_cell_that_somebody_renamed_meanwhile_is_a_conflict_and_nothing_is_done(lab: Station, case: int) -> None:
    client, other = lab.client("tess"), lab.client("hanna")
    first, second, *_ = cells_of(client, case)
    rename = {"kind": "rename", "cell_id": first["id"], "code": "MYELO", "expected": first["code"]}
    assert other.post(f"/api/specimens/{case}/edits", json={"edits": [rename]}).status_code == 200
    confirm = {"kind": "confirm", "cell_id": second["id"], "expected": second["code"]}
    answer = client.post(f"/api/specimens/{case}/edits", json={"edits": [confirm, rename | {"code": "PROMYELO"}]})
    assert answer.status_code == 409
    assert len(cells_of(client, case, reviewed=True)) == 1


@pytest.mark.parametrize(
    "edit",
    [
        {"kind": "rename", "cell_id": 1},
        {"kind": "rename", "cell_id": 1, "code": "NO_SUCH_CLASS"},
        {"kind": "rename", "code": "MYELO"},
        {"kind": "move", "cell_id": 1},
        {"kind": "move", "cell_id": 1, "box": [10, 10, 5, 5]},
        {"kind": "move", "cell_id": 1, "box": [0, 0, 9999, 9999]},
        {"kind": "move", "cell_id": 1, "box": [1, 2, 3]},
        {"kind": "move", "cell_id": 1, "box": ["1", "2", "30", "40"]},
        {"kind": "add", "field_id": 1},
        {"kind": "explode", "cell_id": 1},
        {"kind": "confirm", "cell_id": 0},
    ],
)
def test_an_edit_that_lacks_something_is_refused(lab: Station, case: int, edit: dict[str, Any]) -> None:
    assert lab.client("tess").post(f"/api/specimens/{case}/edits", json={"edits": [edit]}).status_code == 422


def test_cells_are_added_removed_and_restored(lab: Station, case: int) -> None:
    client = lab.client("tess")
    url = f"/api/specimens/{case}/edits"
    field = client.get(f"/api/specimens/{case}/fields").json()[0]["id"]
    new = {"kind": "add", "field_id": field, "code": "MYELO", "box": [2, 2, 30, 30]}
    (added,) = client.post(url, json={"edits": [new]}).json()["cells"]
    assert (added["called"], added["score"], added["reviewed"]) == (None, None, True)
    assert client.post(url, json={"edits": [new]}).status_code == 409
    client.post(url, json={"edits": [{"kind": "remove", "cell_id": added["id"], "expected": "MYELO"}]})
    assert added["id"] not in {c["id"] for c in cells_of(client, case)}
    assert [c["id"] for c in cells_of(client, case, removed=True)] == [added["id"]]
    client.post(url, json={"edits": [{"kind": "restore", "cell_id": added["id"]}]})
    assert added["id"] in {c["id"] for c in cells_of(client, case)}


def test_accepting_above_a_score_confirms_those_cells_alone(lab: Station, case: int) -> None:
    client = lab.client("tess")
    scores = [cell["score"] for cell in cells_of(client, case)]
    above = float(np.median(scores))
    accepted = client.post(f"/api/specimens/{case}/accept", json={"above": above}).json()["accepted"]
    assert accepted == sum(score >= above for score in scores) == len(cells_of(client, case, reviewed=True))
    assert all(cell["score"] >= above for cell in cells_of(client, case, reviewed=True))


def test_the_pages_of_the_gallery_hold_every_cell_once(lab: Station, case: int) -> None:
    client = lab.client("rea")
    for order in ("doubt", "number"):
        pages = [cells_of(client, case, order=order, limit=5, offset=n) for n in (0, 5, 10)]
        ids = [cell["id"] for page in pages for cell in page]
        assert len(ids) == len(set(ids)) == 12
    numbered = cells_of(client, case, order="number")
    assert numbered == sorted(numbered, key=lambda cell: cell["id"])


def test_a_page_of_the_gallery_is_a_part_of_the_review_order(lab: Station) -> None:
    specimen, slide = lab.case("S-7")
    fields = [lab.field(slide, seed) for seed in range(4)]
    cells = [cell for field in fields for cell in lab.works.store.field_cells(field.id)]
    names = ["MYELO", "OTHER", "META", "MYELO", "NEU_SEG", "MYELO"]
    edits = [Edit(EditKind.RENAME, c.id, code=names[n % 6]) for n, c in enumerate(cells) if n % 5]
    lab.works.review.edit(specimen.id, edits, by="tess")
    client = lab.client("rea")
    filters: list[dict[str, Any]] = [{}, {"reviewed": True}, {"reviewed": False}, {"code": ["MYELO", "META"]}]
    for only in filters:
        whole = lab.works.review.gallery(specimen.id, codes=only.get("code"), reviewed=only.get("reviewed"), limit=99)
        for limit, offset in ((99, 0), (3, 0), (3, 2), (5, 9), (4, 98)):
            page = client.get(
                f"/api/specimens/{specimen.id}/cells", params={**only, "limit": limit, "offset": offset}
            ).json()
            assert page["total"] == whole.total
            assert [c["id"] for c in page["items"]] == [c.id for c in whole.cells[offset : offset + limit]]


def test_a_reader_sees_their_own_blind_reading_alone(lab: Station, case: int) -> None:
    tess, hanna = lab.client("tess"), lab.client("hanna")
    ids = [cell["id"] for cell in cells_of(tess, case)]
    for client, code in ((tess, "MYELO"), (hanna, "PROMYELO")):
        readings = [{"cell_id": i, "code": code if n % 2 else "NEU_SEG"} for n, i in enumerate(ids)]
        answer = client.post(f"/api/specimens/{case}/readings", json={"readings": readings})
        assert {reading["reader"] for reading in answer.json()} == {client.get("/api/me").json()["name"]}
    found = tess.get(f"/api/specimens/{case}/agreement", params={"first": "tess", "second": "hanna"}).json()
    assert found["n"] == 12
    assert found["observed"] == 0.5
    assert found["lineage_kappa"]["value"] in (None, 1.0)
    assert found["confusions"] == [{"first": "MYELO", "second": "PROMYELO", "count": 6}]
    unknown = tess.get(f"/api/specimens/{case}/agreement", params={"first": "tess", "second": "nobody"})
    assert unknown.status_code == 422


def test_a_reading_names_classes_of_the_scheme(lab: Station, case: int) -> None:
    reading = {"cell_id": 1, "code": "NO_SUCH"}
    answer = lab.client("tess").post(f"/api/specimens/{case}/readings", json={"readings": [reading]})
    assert answer.status_code == 422


def test_the_effort_of_a_case_adds_up(lab: Station, case: int) -> None:
    for name in ("tess", "tess", "hanna"):
        body = {"seconds": 30.5, "keystrokes": 20, "clicks": 3}
        answer = lab.client(name).post(f"/api/specimens/{case}/effort", json=body)
    assert answer.json()["keystrokes"] == 60
    assert [(p["who"], p["seconds"]) for p in answer.json()["people"]] == [("hanna", 30.5), ("tess", 61.0)]


def test_the_scheme_has_a_colour_for_every_class_and_layouts_name_its_classes(lab: Station) -> None:
    client = lab.client("rea")
    scheme = client.get("/api/scheme").json()
    codes = {cell["code"] for cell in scheme["classes"]}
    assert scheme["other"] in codes
    assert all(len(cell["colour"]) == 7 and cell["colour"][0] == "#" for cell in scheme["classes"])
    layouts = client.get("/api/keyboards").json()
    assert layouts[0]["name"] == "default"
    assert all(set(layout["keys"].values()) <= codes for layout in layouts)


def test_a_layout_of_ones_own_is_checked_and_kept(lab: Station) -> None:
    client = lab.client("rea")
    own = 'name = "mine"\ntitle = "Left hand"\n[keys]\nm = "MYELO"\n'
    assert client.put("/api/me/keyboard", json={"layout": own}).status_code == 200
    mine = client.get("/api/keyboards").json()[-1]
    assert mine == {"name": "mine", "title": "Left hand", "keys": {"m": "MYELO"}}
    assert client.put("/api/me/keyboard", json={"layout": own + 'p = "MYELO"\n'}).status_code == 422
    assert client.put("/api/me/keyboard", json={"layout": "digits"}).json()["keyboard"] == "digits"
    assert "mine" not in {layout["name"] for layout in client.get("/api/keyboards").json()}


def test_the_audit_trail_says_who_did_what_and_holds_together(lab: Station, case: int) -> None:
    client = lab.client("ada")
    page = client.get("/api/audit", params={"subject": f"specimen/{case}", "limit": 2}).json()
    assert [entry["what"] for entry in page["items"]] == ["field.keep", "field.keep"]
    assert page["more"]
    assert page["total"] == 4
    assert client.post("/api/audit/verify").json()["ok"] is True


def test_statistics_count_what_there_is(lab: Station, case: int) -> None:
    found = lab.client("rea").get("/api/statistics").json()
    assert (found["specimens"], found["fields"], found["cells"]) == (1, 2, 12)
    assert sum(entry["cells"] for entry in found["by_code"]) == 12


def test_a_model_is_promoted_with_a_reason(lab: Station) -> None:
    added = lab.works.store.add_model("newer", "cd" * 32, "clinical", "", "", by="ada")
    client = lab.client("ada")
    models = client.post(f"/api/models/{added.id}/promote", json={"why": "better on the fixed set"}).json()
    assert [model["serving"] for model in models] == [False, True]
    assert client.post("/api/models/99/promote", json={"why": "x"}).status_code == 404


def test_settings_are_kept_and_checked(lab: Station) -> None:
    ada, rea = lab.client("ada"), lab.client("rea")
    for name in ("letterhead", "references", "stop-rule", "station"):
        default = rea.get(f"/api/settings/{name}").json()
        assert ada.put(f"/api/settings/{name}", json=default).json() == default
        assert ada.put(f"/api/settings/{name}", json=default | {"unknown": 1}).status_code == 422
    station = rea.get("/api/settings/station").json() | {"name": "Scope 1", "accept_above": 0.95}
    assert ada.put("/api/settings/station", json=station).status_code == 200
    assert rea.get("/api/settings/station").json() == station


def test_a_calibration_of_the_eyepiece_is_kept_for_each_objective(lab: Station) -> None:
    client = lab.client("tess")
    for objective, shift in (("100x", 3.0), ("40x", 1.0), ("100x", 5.0)):
        body = {"homography": [1, 0, shift, 0, 1, 0, 0, 0, 1], "target": "cross"}
        assert client.put(f"/api/eyepiece/{objective}", json=body).status_code == 200
    kept = client.get("/api/eyepiece").json()
    assert [(c["objective"], c["homography"][2], c["saved_by"]) for c in kept] == [
        ("100x", 5.0, "tess"),
        ("40x", 1.0, "tess"),
    ]


def test_reviewed_fields_are_written_for_training(lab: Station, case: int) -> None:
    lab.client("tess").post(f"/api/specimens/{case}/accept", json={"above": 0.0})
    other, slide = lab.case("S-9")
    lab.field(slide, 9)
    lab.client("tess").post(f"/api/specimens/{other.id}/accept", json={"above": 0.0})
    made = lab.client("ada").post("/api/retraining", json={}).json()
    assert (made["fields"], made["cells"]) == (3, 18)
    assert str(lab.works.home / "exports") in made["folder"]
