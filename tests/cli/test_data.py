"""`marrowscope data`: check, summary, split, convert."""

import json
from pathlib import Path
from typing import Any

import pytest

from marrowscope.data.labelled import data_hash
from marrowscope.data.voc import read_voc


def _break_a_box(folder: Path) -> None:
    path = folder / "Annotations" / "smear_000000.xml"
    text = path.read_text()
    start = text.index("<xmin>")
    end = text.index("</bndbox>")
    path.write_text(text[:start] + "<xmin>5</xmin><ymin>5</ymin><xmax>5</xmax><ymax>9</ymax>" + text[end:])


def test_a_sound_folder_passes(command: Any, fields: Path) -> None:
    done = command("data", "check", fields)
    assert done.exit_code == 0, done.output
    assert "6 fields" in done.stdout


def test_a_zero_area_box_is_named_and_the_exit_code_is_1(command: Any, fields: Path, tmp_path: Path) -> None:
    _break_a_box(fields)
    done = command("data", "check", fields, "--json", tmp_path / "report.json")
    assert done.exit_code == 1
    assert "smear_000000.xml, object 1" in done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["counts"] == {"zero-area box": 1}


def test_the_summary_is_told_and_written(command: Any, drawn: Path, labelled: Any, tmp_path: Path) -> None:
    done = command("data", "summary", drawn, "--scheme", "liu2022", "--out", tmp_path / "tables")
    assert done.exit_code == 0, done.output
    assert "lymphoblast" in done.stdout
    table = json.loads((tmp_path / "tables" / "table1.json").read_text())
    assert table["cells"] == [sum(len(f) for f in labelled)]
    assert (tmp_path / "tables" / "table1.md").is_file()
    assert (tmp_path / "tables" / "table1.csv").is_file()


def test_a_split_is_written_once_and_replaced_only_by_force(command: Any, fields: Path) -> None:
    assert command("data", "split", fields, "--held-out", "0.34").exit_code == 0
    train = (fields / "ImageSets" / "Main" / "train.txt").read_text().split()
    val = (fields / "ImageSets" / "Main" / "val.txt").read_text().split()
    assert 0 < len(val) < 6
    assert sorted(train + val) == [f"smear_{n:06d}" for n in range(6)]
    again = command("data", "split", fields)
    assert again.exit_code == 2
    assert "--force" in again.stderr
    assert (fields / "ImageSets" / "Main" / "val.txt").read_text().split() == val
    (fields / "ImageSets" / "Main" / "val.txt").write_text("")
    assert command("data", "split", fields, "--held-out", "0.34", "--force").exit_code == 0
    assert (fields / "ImageSets" / "Main" / "val.txt").read_text().split() == val


def test_a_split_by_specimen_keeps_every_specimen_on_one_side(command: Any, fields: Path) -> None:
    assert command("data", "split", fields, "--by", "specimen", "--held-out", "0.3").exit_code == 0
    sides = [{f.specimen for f in read_voc(fields, split=s).fields} for s in ("train", "val")]
    assert not sides[0] & sides[1]
    assert sides[0] | sides[1] == {"slide_0", "slide_1", "slide_2"}


def test_fields_of_a_test_list_stay_out_of_the_split(command: Any, fields: Path) -> None:
    lists = fields / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "test.txt").write_text("smear_000002\n")
    assert command("data", "split", fields, "--held-out", "0.4").exit_code == 0
    split = (lists / "train.txt").read_text().split() + (lists / "val.txt").read_text().split()
    assert sorted(split) == [f"smear_{n:06d}" for n in (0, 1, 3, 4, 5)]


@pytest.mark.parametrize("form", ["coco", "yolo"])
def test_labels_survive_the_way_there_and_back(command: Any, fields: Path, tmp_path: Path, form: str) -> None:
    command("data", "split", fields)
    there, back = tmp_path / form, tmp_path / "back"
    assert command("data", "convert", fields, there, "--to", form).exit_code == 0
    done = command("data", "convert", there, back, "--to", "voc", "--from", form)
    assert done.exit_code == 0, done.output
    for split in ("train", "val"):
        assert data_hash(read_voc(back, split=split).fields) == data_hash(read_voc(fields, split=split).fields)


def test_a_format_that_is_not_the_expected_one_is_refused(command: Any, fields: Path, tmp_path: Path) -> None:
    done = command("data", "convert", fields, tmp_path / "out", "--to", "coco", "--from", "yolo")
    assert done.exit_code == 2
    assert "laid out as voc" in done.stderr
