import csv
import io
import json
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marrowscope.cells.taxonomy import Taxonomy, load_taxonomy
from marrowscope.data.clean import drop_unknown, drop_unlabelled, infer_taxonomy, keep_frequent_classes
from marrowscope.data.labelled import LabelledField, labels_of
from marrowscope.data.split import by_field, by_specimen
from marrowscope.data.summary import summarise
from marrowscope.data.voc import read_voc
from marrowscope.errors import BadAnnotation, BadInput, BadTaxonomy


def field(name: str, *labels: str, specimen: str | None = None) -> LabelledField:
    boxes = [[10 * i, 0, 10 * i + 8, 6] for i in range(len(labels))]
    return LabelledField(
        name, Path(f"{name}.jpg"), 400, 300, np.asarray(boxes), labels, np.zeros(len(labels)), specimen
    )


def names(fields) -> list[str]:
    return [f.name for f in fields]


def test_fields_without_cells_go() -> None:
    cleaned = drop_unlabelled([field("a", "blast"), field("b")])
    assert names(cleaned.fields) == ["a"]
    assert cleaned.dropped_fields == ("b",)
    assert str(cleaned) == "1 fields kept; dropped 1 fields and no cells"


def test_cells_outside_the_scheme_go_and_aliases_stay() -> None:
    scheme = load_taxonomy("liu2022")
    cleaned = drop_unknown(
        [field("a", "Neutrophilic_Myelocyte", "smudge"), field("b", "smudge"), field("c", "myeloblast")], scheme
    )
    assert cleaned.dropped_cells == {"smudge": 2}
    assert cleaned.dropped_fields == ("b",)
    assert [f.labels for f in cleaned.fields] == [("Neutrophilic_Myelocyte",), ("myeloblast",)]


def test_a_class_with_exactly_the_limit_goes_and_one_more_stays() -> None:
    fields = [field("a", *["blast"] * 3, *["band"] * 2), field("b", "band"), field("c", "blast", "rare")]
    cleaned = keep_frequent_classes(fields, more_than=3)
    assert labels_of(cleaned.fields) == Counter(blast=4)
    assert cleaned.dropped_cells == {"band": 3, "rare": 1}
    assert cleaned.dropped_fields == ("b",)
    assert cleaned.fields[0].boxes.tolist() == fields[0].boxes[:3].tolist()
    assert labels_of(keep_frequent_classes(fields, more_than=0).fields) == labels_of(fields)
    assert keep_frequent_classes(fields, more_than=4).fields == ()
    assert keep_frequent_classes([]).fields == ()


def test_spellings_of_one_class_are_counted_together() -> None:
    fields = [field("a", "Band_cell", "band cell", "band-cell", "blast")]
    assert len(keep_frequent_classes(fields, more_than=2).fields[0]) == 3
    taxonomy = infer_taxonomy([*fields, field("b", "Band_cell")])
    assert taxonomy.names == ("blast", "Band_cell")
    assert [taxonomy.find(label) for label in ("band cell", "BAND-CELL", "blast")] == [1, 1, 0]


def test_classes_come_rarest_first_and_ties_by_name() -> None:
    fields = [field("a", "z", "y", "x", "x", "w", "w", "w")]
    assert infer_taxonomy(fields).names == ("y", "z", "x", "w")
    with pytest.raises(BadTaxonomy, match="no labelled cell in 1 fields"):
        infer_taxonomy([field("a")])


def test_the_papers_filter_on_the_real_fields_keeps_all_ten_classes(data_root: Path) -> None:
    fields = read_voc(data_root / "pbc_fields").fields
    assert keep_frequent_classes(fields).dropped_cells == {}
    assert set(keep_frequent_classes(fields, more_than=130).dropped_cells) == {"basophil"}


many = [field(f"f{i}", *["common"] * 5, *["rare"] * (i % 40 == 3), *["twice"] * (i in (8, 9))) for i in range(120)]


@pytest.mark.parametrize("seed", range(5))
def test_every_field_is_on_one_side_and_the_share_is_kept(seed: int) -> None:
    training, held_out = by_field(many, held_out=0.2, seed=seed)
    assert sorted(names(training) + names(held_out)) == sorted(names(many))
    assert len(held_out) == 24
    assert labels_of(training)["rare"] == 2
    assert labels_of(held_out)["rare"] == 1
    assert labels_of(held_out)["twice"] == labels_of(training)["twice"] == 1


def test_a_split_depends_on_the_seed_but_not_on_the_order() -> None:
    shuffled = [many[i] for i in np.random.default_rng(3).permutation(len(many))]
    first = by_field(many, seed=1)
    assert [names(side) for side in by_field(shuffled, seed=1)] == [names(side) for side in first]
    assert names(by_field(many, seed=2)[1]) != names(first[1])


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from("abcdefg "), min_size=2, max_size=30), st.floats(0.05, 0.95), st.integers(0, 99))
def test_a_class_of_two_fields_is_on_both_sides(labels, share, seed) -> None:
    fields = [field(f"f{i}", *label.split()) for i, label in enumerate(labels)]
    training, held_out = by_field(fields, held_out=share, seed=seed)
    assert training
    assert held_out
    assert sorted(names(training) + names(held_out)) == sorted(names(fields))
    for label, holders in Counter("".join(labels).replace(" ", "")).items():
        if holders > 1:
            assert label in labels_of(training)
            assert label in labels_of(held_out)


def test_where_fields_share_classes_nearly_every_possible_split_is_found() -> None:
    """Judged by trying every split there is."""
    rng = np.random.default_rng(0)
    possible = missed = 0
    for seed in range(150):
        has = rng.random((rng.integers(3, 9), rng.integers(1, 6))) < 0.4
        shared = has.sum(axis=0) > 1
        fields = [field(f"f{i}", *(f"c{k}" for k in np.flatnonzero(row))) for i, row in enumerate(has)]

        def on_both(held, has=has, shared=shared) -> bool:
            held = np.asarray(held, bool)
            return 0 < held.sum() < len(held) and bool((has[held].any(0) & has[~held].any(0))[shared].all())

        possible_here = any(on_both(bits) for bits in product((0, 1), repeat=len(has)))
        _, held_out = by_field(fields, held_out=0.3, seed=seed)
        possible += possible_here
        missed += possible_here and not on_both([f.name in names(held_out) for f in fields])
    assert possible > 100
    assert missed <= 0.03 * possible


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(1, 6), min_size=2, max_size=12), st.floats(0.1, 0.9), st.integers(0, 9))
def test_a_specimen_is_never_on_both_sides(sizes, share, seed) -> None:
    fields = [
        field(f"s{s}/f{i}", "blast", f"c{s % 3}", specimen=f"s{s}") for s, n in enumerate(sizes) for i in range(n)
    ]
    training, held_out = by_specimen(fields, held_out=share, seed=seed)
    assert training
    assert held_out
    assert not {f.specimen for f in training} & {f.specimen for f in held_out}
    assert sorted(names(training) + names(held_out)) == sorted(names(fields))
    assert labels_of(held_out)["blast"] > 0


def test_specimens_of_unequal_size_come_near_the_asked_share() -> None:
    fields = [field(f"s{s}/f{i}", "blast", specimen=f"s{s}") for s in range(30) for i in range(s % 7 + 1)]
    for seed in range(5):
        _, held_out = by_specimen(fields, held_out=0.2, seed=seed)
        assert abs(len(held_out) / len(fields) - 0.2) < 0.05


def test_impossible_splits_are_refused() -> None:
    with pytest.raises(BadAnnotation, match=r"^b: its specimen is not known \(nor that of 1 others\)"):
        by_specimen([field("a", specimen="s"), field("b"), field("c")], seed=0)
    with pytest.raises(BadInput, match="at least two"):
        by_specimen([field("a", specimen="s"), field("b", specimen="s")], seed=0)
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(BadInput, match="between 0 and 1"):
            by_field(many, held_out=share, seed=0)


def test_the_real_fields_are_split_with_every_class_near_its_share(data_root: Path) -> None:
    fields = read_voc(data_root / "pbc_fields").fields
    _, held_out = by_field(fields, held_out=0.2, seed=7)
    assert abs(len(held_out) - 0.2 * len(fields)) <= 1
    for label, count in labels_of(fields).items():
        assert abs(labels_of(held_out)[label] / count - 0.2) < 0.05


def test_a_summary_counts_what_is_there() -> None:
    scheme = Taxonomy.from_labels(["blast", "lymphocyte", "absent"])
    splits = {
        "training": [field("a", "blast", "blast", "junk", specimen="s1"), field("b", specimen="s1")],
        "test": [field("c", "LYMPHOCYTE", specimen="s2")],
    }
    summary = summarise(splits, scheme)
    assert summary.splits == ("training", "test")
    assert [row.cells for row in summary.rows] == [(2, 0), (0, 1), (0, 0)]
    assert summary.cells == (2, 1)
    assert summary.fields == (2, 1)
    assert summary.unlabelled_fields == (1, 0)
    assert summary.specimens == (1, 1)
    assert summary.unknown_cells == (1, 0)
    assert summary.unknown_labels == ("junk",)
    assert summary.rows[0].width_px == (8, 8, 8)
    assert summary.rows[0].height_px == (6, 6, 6)
    assert summary.rows[2].width_px is None


def test_a_summary_is_written_three_ways_that_agree() -> None:
    scheme = Taxonomy.from_labels(["blast", "a|b"])
    summary = summarise({"train": [field("a", "blast", "blast", "a|b")], "val": []}, scheme)
    rows = list(csv.DictReader(io.StringIO(summary.to_csv())))
    assert [(r["class"], r["cells_train"], r["cells_val"]) for r in rows] == [("blast", "2", "0"), ("a|b", "1", "0")]
    assert rows[0]["width_px_p50"] == "8"
    content = json.loads(summary.to_json())
    assert content["rows"][0]["cells"] == [2, 0]
    assert content["cells"] == [3, 0]
    assert "| blast |" in summary.to_markdown()
    assert "a\\|b" in summary.to_markdown()
    assert "| **Cells** |  | 3 | 0 |  |" in summary.to_markdown()


def test_percentiles_agree_with_numpy_on_real_boxes(data_root: Path) -> None:
    fields = read_voc(data_root / "pbc_fields", split="val").fields
    row = next(r for r in summarise({"val": fields}, infer_taxonomy(fields)).rows if r.name == "lymphocyte")
    widths = [
        b[2] - b[0] for f in fields for b, label in zip(f.boxes.tolist(), f.labels, strict=True) if label == row.name
    ]
    assert row.width_px == pytest.approx(tuple(np.percentile(widths, (5, 50, 95))), abs=0.06)
    assert row.cells == (len(widths),)
