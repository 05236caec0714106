"""`marrowscope label-studio` and the way back from its exports."""

import json
from pathlib import Path
from typing import Any

from marrowscope.data.voc import read_voc


def test_what_cannot_be_served_is_said_before_the_model_is_opened(command: Any, tmp_path: Path) -> None:
    for options, message in (
        (("--host", "0.0.0.0"), "--insecure-lan"),
        (("--url", "localhost:8080"), "no http address"),
        (("--data-root", tmp_path / "nowhere"), "is no folder"),
        (("--tls-cert", tmp_path / "a.crt"), "tls_key"),
    ):
        ended = command("label-studio", "--port", 0, *options)
        assert ended.exit_code == 2
        assert message in ended.stderr


def test_an_export_and_its_pictures_become_a_voc_folder(command: Any, drawn: Path, tmp_path: Path) -> None:
    picture = sorted((drawn / "JPEGImages").iterdir())[0]
    value = {"x": 10, "y": 10, "width": 20, "height": 20, "rectanglelabels": ["lymphocyte"]}
    annotation = {"result": [{"type": "rectanglelabels", "value": value}]}
    task = {"id": 1, "data": {"image": f"/data/upload/3/{picture.name}"}, "annotations": [annotation]}
    (tmp_path / "export.json").write_text(json.dumps([task]))
    images = ("--images", drawn / "JPEGImages")
    ended = command("data", "convert", tmp_path / "export.json", tmp_path / "voc", *images, "--to", "voc")
    assert ended.exit_code == 0, ended.stderr
    assert "1 fields with 1 cells of 1 classes: label-studio -> voc" in ended.stdout
    (field,) = read_voc(tmp_path / "voc").fields
    assert field.labels == ("lymphocyte",)
