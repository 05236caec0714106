"""Which fields are trained on, which are held out, and what is left out of both."""

from pathlib import Path
from typing import Any

import pytest

from marrowscope.cli.fields import TrainingData, read_for_evaluation, read_for_training, write_split
from marrowscope.data.labelled import labels_of
from marrowscope.errors import BadAnnotation, BadInput


def _names(fields: Any) -> set[str]:
    return {f.name for f in fields}


def _lists(folder: Path, **splits: str) -> None:
    for name, numbers in splits.items():
        path = folder / "ImageSets" / "Main" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"smear_{int(n):06d}\n" for n in numbers))


def _data(folder: Path, **options: Any) -> TrainingData:
    return read_for_training(folder, **options)


def test_the_folders_own_lists_are_honoured(fields: Path) -> None:
    _lists(fields, train="0134", val="25")
    data = _data(fields)
    assert data.split == "given"
    assert _names(data.training) == {f"smear_00000{n}" for n in "0134"}
    assert _names(data.validation) == {"smear_000002", "smear_000005"}


def test_without_lists_a_fifth_is_held_out_the_same_for_a_seed(fields: Path) -> None:
    first, second = _data(fields, seed=1), _data(fields, seed=1)
    assert first.split == "field"
    assert _names(first.validation) == _names(second.validation)
    assert not _names(first.training) & _names(first.validation)
    assert _names(first.training) | _names(first.validation) == {f"smear_00000{n}" for n in range(6)}


def test_whole_specimens_are_held_out_where_asked(fields: Path) -> None:
    data = _data(fields, grouping="specimen")
    assert not {f.specimen for f in data.training} & {f.specimen for f in data.validation}


def test_a_test_list_is_never_trained_on(fields: Path) -> None:
    _lists(fields, test="01")
    data = _data(fields)
    assert _names(data.training) | _names(data.validation) == {f"smear_00000{n}" for n in "2345"}


def test_an_unknown_list_is_refused(fields: Path) -> None:
    _lists(fields, val="01")
    with pytest.raises(BadInput, match="has no split 'train'"):
        _data(fields)
    with pytest.raises(BadInput, match="has no split 'validation'"):
        _data(fields, train_split="val", validation_split="validation")


def test_rare_classes_go_and_are_named(fields: Path, labelled: Any) -> None:
    counts = labels_of(labelled)
    data = _data(fields, more_than=5)
    assert set(data.taxonomy.names) == {label for label, n in counts.items() if n > 5}
    left = {label for f in (*data.training, *data.validation) for label in f.labels}
    assert left == set(data.taxonomy.names)
    assert any("left out" in note for note in data.notes)


def test_when_every_class_is_too_rare_the_remedy_is_told(fields: Path) -> None:
    with pytest.raises(BadInput, match="more_than=0"):
        _data(fields, more_than=1000)


def test_a_class_seen_in_validation_alone_is_not_learned(fields: Path, labelled: Any) -> None:
    alone = {}
    for field in labelled:
        others = labels_of(f for f in labelled if f is not field)
        alone[field.name] = [label for label in field.labels if label not in others]
    name, labels = next((n, found) for n, found in alone.items() if found)
    _lists(fields, train="".join(str(n) for n in range(6) if not name.endswith(str(n))), val=name[-1])
    data = _data(fields)
    assert not set(labels) & set(data.taxonomy.names)
    assert not set(labels) & set(labels_of(data.validation))


def test_a_scheme_gives_the_classes_their_order(fields: Path) -> None:
    from marrowscope.cells.taxonomy import load_taxonomy

    data = _data(fields, scheme="liu2022", more_than=1)
    order = [name for name in load_taxonomy("liu2022").names if name in data.taxonomy.names]
    assert list(data.taxonomy.names) == order


def test_a_scheme_with_an_other_class_keeps_the_rare_cells_there(fields: Path, labelled: Any, tmp_path: Path) -> None:
    scheme = tmp_path / "ours.toml"
    common = labels_of(labelled).most_common(1)[0][0]
    scheme.write_text(
        f'name = "ours"\nother = "REST"\n[[classes]]\ncode = "COMMON"\nname = "{common}"\nlineage = "other"\n'
        '[[classes]]\ncode = "REST"\nname = "all others"\nlineage = "other"\n'
    )
    data = _data(fields, scheme=str(scheme))
    assert data.taxonomy.names == (common, "all others")
    assert sum(len(f) for f in (*data.training, *data.validation)) == sum(len(f) for f in labelled)


def test_a_bad_box_is_left_out_and_named_or_stops_when_strict(fields: Path) -> None:
    path = fields / "Annotations" / "smear_000000.xml"
    path.write_text(path.read_text().replace("<xmin>", "<xmin>9", 1))
    data = _data(fields)
    assert [p.where for p in data.problems] == ["smear_000000.xml, object 1"]
    with pytest.raises(BadAnnotation, match="object 1"):
        _data(fields, skip_bad=False)


def test_what_a_run_held_out_itself_is_found_again(fields: Path, tmp_path: Path) -> None:
    data = _data(fields, seed=3)
    write_split(tmp_path / "run", data, seed=3)
    found, _ = read_for_evaluation(fields, "val", run=tmp_path / "run")
    assert _names(found) == _names(data.validation)
    with pytest.raises(BadInput, match="--split all"):
        read_for_evaluation(fields, "val")
    everything, _ = read_for_evaluation(fields, "all")
    assert len(everything) == 6


def test_fields_that_have_gone_since_are_missed(fields: Path, tmp_path: Path) -> None:
    data = _data(fields, seed=3)
    write_split(tmp_path / "run", data, seed=3)
    (fields / "Annotations" / f"{data.validation[0].name}.xml").unlink()
    with pytest.raises(BadInput, match=rf"holds {len(data.validation) - 1} of the {len(data.validation)} fields"):
        read_for_evaluation(fields, "val", run=tmp_path / "run")
