"""Pairs come back bit for bit, or not at all."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marrowscope.cells.taxonomy import load_taxonomy
from marrowscope.errors import BadInput
from marrowscope.evaluation.metrics import evaluate
from marrowscope.evaluation.pairs import EvaluatedField, load_pairs, save_pairs
from oracles import evaluation_oracle as slow


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_saved_pairs_come_back_bit_for_bit(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    pairs = slow.random_fields(seed)
    path = tmp_path_factory.mktemp("pairs") / "pairs.npz"
    save_pairs(path, pairs)
    back = load_pairs(path)
    assert [p.name for p in back] == [p.name for p in pairs]
    for a, b in zip(pairs, back, strict=True):
        assert a.taxonomy == b.taxonomy
        for side, keys in (("truth", ("boxes", "labels", "difficult")), ("detections", ("boxes", "labels", "scores"))):
            for key in keys:
                np.testing.assert_array_equal(
                    getattr(getattr(a, side), key), getattr(getattr(b, side), key), strict=True
                )


def test_a_table_can_be_made_again_from_the_file(tmp_path: Path) -> None:
    pairs = slow.random_fields(7, fields=9)
    save_pairs(tmp_path / "pairs.npz", pairs)
    assert (
        evaluate(load_pairs(tmp_path / "pairs.npz"), bootstrap=20).to_dict() == evaluate(pairs, bootstrap=20).to_dict()
    )


def test_names_and_schemes_of_any_script_survive(tmp_path: Path) -> None:
    taxonomy = load_taxonomy("clinical")
    empty = slow.field(taxonomy, name="骨髓 3/é|1.jpg")
    save_pairs(tmp_path / "pairs.npz", [empty])
    (back,) = load_pairs(tmp_path / "pairs.npz")
    assert back.name == empty.name
    assert back.taxonomy == taxonomy


def test_the_same_pairs_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        save_pairs(tmp_path / name, slow.random_fields(1))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_missing_file_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        load_pairs(tmp_path / "none.npz")


@pytest.mark.parametrize("content", [b"", b"not an archive", b'{"a": 1}'])
def test_a_foreign_file_is_an_error_that_says_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pairs.npz").write_bytes(content)
    with pytest.raises(BadInput, match="not a file of evaluated fields"):
        load_pairs(tmp_path / "pairs.npz")


def test_a_file_cut_short_is_an_error_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "pairs.npz"
    save_pairs(path, slow.random_fields(1))
    whole = path.read_bytes()
    for length in (10, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:length])
        with pytest.raises(BadInput, match="not a file of evaluated fields"):
            load_pairs(path)


def test_an_archive_of_other_arrays_is_an_error_that_says_so(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(BadInput, match="not a file of evaluated fields"):
        load_pairs(tmp_path / "other.npz")


def test_no_pairs_are_not_written(tmp_path: Path) -> None:
    none: list[EvaluatedField] = []
    with pytest.raises(BadInput, match="no field"):
        save_pairs(tmp_path / "pairs.npz", none)
    assert not list(tmp_path.iterdir())
