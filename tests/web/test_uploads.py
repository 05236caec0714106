"""Pictures that clients send: kept where they are fields, refused in one line where they are attacks."""

import io
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.station import Station, blobs, jpeg, png, station
from marrowscope.errors import BadImage
from marrowscope.web.uploads import read_upload

NOISE = np.random.default_rng(0).bytes(500)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    with station(tmp_path_factory.mktemp("uploads"), upload_mb=4, upload_megapixels=2) as made:
        made.case()
        yield made


def send(lab: Station, data: bytes, name: str = "field.jpg", kind: str = "image/jpeg", slide: int = 1) -> Any:
    client = lab.client("tess")
    return client.post(f"/api/specimens/1/fields?slide_id={slide}", files={"file": (name, data, kind)})


def png_of(width: int, height: int, rows: bytes = b"") -> bytes:
    """A PNG that says it is so large; its pixels are whatever `rows` unpacks to."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_an_uploaded_field_is_detected_and_kept_byte_for_byte(lab: Station) -> None:
    data = jpeg(blobs(3))
    kept = send(lab, data).json()
    client = lab.client("rea")
    assert client.get(kept["image_url"]).content == data
    detail = client.get(f"/api/fields/{kept['id']}").json()
    assert (detail["field"]["width"], detail["field"]["height"]) == (320, 240)
    assert len(detail["cells"]) == kept["cells"] == 6
    assert all(not cell["reviewed"] for cell in detail["cells"])


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_png_and_tiff_are_kept_without_loss_as_what_a_browser_shows(lab: Station, suffix: str) -> None:
    pixels = blobs(4)
    kept = send(lab, png(pixels, suffix), f"field{suffix}").json()
    answer = lab.client("rea").get(kept["image_url"])
    assert answer.headers["content-type"] == "image/png"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB")), pixels)


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "..\\..\\evil.jpg", "/abs/olute.jpg", "a\x00b.jpg", "CON", "x" * 4000, "图.jpg", ""]
)
def test_the_name_of_a_file_is_never_used(lab: Station, name: str, tmp_path: Path) -> None:
    before = {p for p in lab.works.home.rglob("*") if not p.is_relative_to(lab.works.home / "pixels")}
    answer = send(lab, jpeg(blobs(5)), name)
    assert answer.status_code in (201, 400, 422)
    after = {p for p in lab.works.home.rglob("*") if not p.is_relative_to(lab.works.home / "pixels")}
    assert {p.name for p in after - before} <= {"archive.db-wal", "archive.db-shm"}
    assert name not in answer.text or not name


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("a decompression bomb", png_of(30000, 30000, b"\0" * 50_000_000)),
        ("more pixels than permitted", jpeg(blobs(width=2000, height=1200))),
        ("no picture", b"#!/bin/sh\nrm -rf /\n"),
        ("a page", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"),
        ("a PDF", b"%PDF-1.7\n"),
        ("a GIF", b"GIF89a" + bytes(100)),
        ("nothing", b""),
        ("half a JPEG", jpeg(blobs())[:2000]),
        ("a JPEG's beginning", b"\xff\xd8\xff\xe0" + NOISE[:500]),
        ("a PNG without pixels", png_of(400, 300, b"\0" * 10)),
        ("a PNG of no size", png_of(0, 0)),
        ("a PNG of one pixel", png(np.zeros((1, 1, 3), np.uint8))),
        ("a TIFF's beginning", b"II*\x00" + struct.pack("<I", 8) + NOISE[:64]),
        ("a TIFF that points at itself", b"II*\x00" + struct.pack("<IH", 8, 0) + struct.pack("<I", 8)),
    ],
)
def test_what_is_no_field_is_refused_and_leaves_nothing(lab: Station, what: str, data: bytes) -> None:
    before = lab.works.store.statistics()
    answer = send(lab, data)
    assert answer.status_code == 422, what
    body = answer.json()
    assert set(body) == {"error", "message"}
    assert "upload" in body["message"]
    assert "/tmp" not in body["message"]
    assert lab.works.store.statistics() == before


@settings(max_examples=40)
@given(data=st.binary(max_size=400), start=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\x00"]))
def test_no_bytes_make_the_reader_fail(data: bytes, start: bytes) -> None:
    with pytest.raises(BadImage):
        read_upload(io.BytesIO(start + data), max_pixels=1_000_000)


def test_a_body_that_announces_a_gigabyte_is_refused_before_it_is_read(lab: Station) -> None:
    client, read = lab.client("tess"), 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        while read < 1 << 30:
            read += 1 << 20
            yield bytes(1 << 20)

    headers = {"content-length": str(1 << 30), "content-type": "multipart/form-data; boundary=x"}
    answer = client.post("/api/specimens/1/fields?slide_id=1", content=endless(), headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (413, "too_large")


@pytest.mark.parametrize("path", ["/api/specimens/1/fields?slide_id=1", "/api/specimens", "/api/login"])
def test_a_body_that_announces_nothing_is_refused_at_the_limit(lab: Station, path: str) -> None:
    client, sent = lab.client("tess"), 0

    def parts() -> Iterator[bytes]:
        nonlocal sent
        head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
        yield head if "fields" in path else b'{"code": "'
        while sent < 12 << 20:
            sent += 1 << 18
            yield b"a" * (1 << 18)

    kind = "multipart/form-data; boundary=x" if "fields" in path else "application/json"
    answer = client.post(path, content=parts(), headers={"content-type": kind})
    assert (answer.status_code, answer.json()["error"]) == (413, "too_large")


@pytest.mark.parametrize(
    "form",
    [
        {"data": {"file": "a word"}},
        {"files": [("file", b"1"), ("file", b"2")]},
        {"files": {"other": b"1"}},
        {"json": {"file": "x"}},
        {"content": b"--x\r\nbroken", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        {"content": b"", "headers": {"content-type": "multipart/form-data"}},
        {},
    ],
)
def test_a_form_without_one_file_is_told_what_is_missing(lab: Station, form: dict[str, Any]) -> None:
    answer = lab.client("tess").post("/api/specimens/1/fields?slide_id=1", **form)
    assert answer.status_code in (400, 422)
    assert set(answer.json()) == {"error", "message"}


def test_nobodys_bytes_are_read_before_who_they_are_is_known(lab: Station) -> None:
    read = False

    def parts() -> Iterator[bytes]:
        nonlocal read
        read = True
        yield b"--x"

    client = lab.client()
    answer = client.post("/api/specimens/1/fields?slide_id=1", content=parts())
    assert answer.status_code == 401


def test_a_slide_of_another_case_is_refused(lab: Station) -> None:
    _, slide = lab.case("S-2")
    assert send(lab, jpeg(blobs()), slide=slide).status_code == 422


def test_a_signed_case_takes_no_picture(lab: Station) -> None:
    specimen, slide = lab.case("S-3")
    lab.works.store.sign(specimen.id, json.dumps({}), b"%PDF-1.7\n%%EOF\n", by="hanna", meaning="approved")
    client = lab.client("tess")
    url = f"/api/specimens/{specimen.id}/fields?slide_id={slide}"
    assert client.post(url, files={"file": jpeg(blobs())}).status_code == 423
