"""From labelled fields to samples: right pixels, right boxes, and chance that can be repeated."""

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from marrowscope.cells.taxonomy import load_taxonomy
from marrowscope.data.labelled import LabelledField
from marrowscope.data.voc import read_voc
from marrowscope.detect.prepare import fit
from marrowscope.errors import BadAnnotation, BadImage
from marrowscope.training.augment import Augmentation
from marrowscope.training.dataset import FieldDataset, collate
from marrowscope.training.sampling import EpochSampler

TAXONOMY = load_taxonomy("liu2022")
PLAIN = Augmentation.none()
# Python 3.12 warns of every fork beside threads; torch and OpenCV keep threads of their own.
forks = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def make_field(folder: Path, number: int, *, width=200, height=150, boxes=((20, 30, 80, 90), (100, 40, 150, 100))):
    """A smooth random field on disk, its cells labelled with the first classes; the last one is difficult."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 256, (height // 25, width // 25, 3), dtype=np.uint8)
    pixels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    path = folder / f"field_{number}.png"
    cv2.imwrite(str(path), pixels[..., ::-1])
    difficult = [False] * (len(boxes) - 1) + [True] if len(boxes) else []
    names = tuple(TAXONOMY.names[i % len(TAXONOMY)] for i in range(len(boxes)))
    return LabelledField(path.stem, path, width, height, np.array(boxes, np.float32), names, np.array(difficult, bool))


@pytest.fixture
def fields(tmp_path):
    return [make_field(tmp_path, n) for n in range(6)]


def make_dataset(fields, *, size=(100, 100), augmentation=PLAIN, **others):
    return FieldDataset(fields, TAXONOMY, size=size, augmentation=augmentation, **{"seed": 3, **others})


def assert_same(a, b):
    assert (a.name, a.scale, a.size) == (b.name, b.scale, b.size)
    for x, y in ((a.image, b.image), (a.boxes, b.boxes), (a.labels, b.labels), (a.ignored, b.ignored)):
        assert x.dtype == y.dtype
        assert torch.equal(x, y)


def test_a_field_is_resized_and_its_boxes_with_it(fields):
    sample = make_dataset(fields)[2]
    assert sample.name == "field_2"
    assert sample.image.shape == (3, 75, 100)
    assert sample.image.dtype == torch.uint8
    assert sample.scale == (0.5, 0.5)
    assert sample.size == (200, 150)
    assert sample.boxes.tolist() == [[10, 15, 40, 45]]
    assert sample.labels.tolist() == [0]
    assert sample.ignored.tolist() == [[50, 20, 75, 50]]
    assert (sample.boxes.dtype, sample.labels.dtype, sample.ignored.dtype) == (
        torch.float32,
        torch.int64,
        torch.float32,
    )


def test_pixels_are_those_of_the_file_in_rgb(fields):
    whole = make_dataset(fields, size=(200, 150))[1].image.permute(1, 2, 0).numpy()
    on_disk = cv2.imread(str(fields[1].image_path))[..., ::-1]
    np.testing.assert_array_equal(whole, on_disk)
    halved = make_dataset(fields)[1].image.permute(1, 2, 0).numpy()
    means = on_disk.reshape(75, 2, 100, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(halved, means, atol=1)


def test_an_image_is_laid_out_for_channels_last(fields):
    sample = make_dataset(fields)[0]
    assert sample.image[None].is_contiguous(memory_format=torch.channels_last)


def test_a_field_is_fitted_as_the_detector_will_fit_it(fields):
    dataset = make_dataset(fields, size=(400, 400))
    fitted = fit(fields[0].width, fields[0].height, (400, 400))
    assert dataset.sizes[0] == (fitted.width, fitted.height)
    assert dataset[0].image.shape == (3, 300, 400)
    assert dataset[0].boxes.tolist() == [[40, 60, 160, 180]]


def test_boxes_that_teach_nothing_are_left_out(tmp_path):
    flat, tiny, outside = (5, 5, 5, 40), (50, 50, 51, 51), (300, 10, 320, 30)
    field = make_field(tmp_path, 0, boxes=(flat, tiny, outside, (60, 60, 90, 90), (0, 0, 9, 9)))
    sample = make_dataset([field])[0]
    assert sample.boxes.tolist() == [[30, 30, 45, 45]]
    assert sample.labels.tolist() == [3]


def test_a_field_without_cells_is_a_sample_too(tmp_path):
    sample = make_dataset([make_field(tmp_path, 0, boxes=())], augmentation=Augmentation.paper())[0]
    assert sample.boxes.shape == (0, 4)
    assert sample.labels.shape == (0,)
    assert sample.ignored.shape == (0, 4)


def test_labels_unknown_to_the_scheme_are_left_out(fields):
    scheme = TAXONOMY.keep([5])
    dataset = FieldDataset(fields, scheme, size=(100, 100), augmentation=PLAIN, seed=0)
    assert len(dataset[0].boxes) == 0


def test_the_same_seed_epoch_and_index_give_the_same_sample(fields):
    a, b = (make_dataset(fields, augmentation=Augmentation.paper()) for _ in range(2))
    for dataset in (a, b):
        dataset.set_epoch(2)
    _ = [b[i] for i in (4, 1, 5)]
    for i in range(6):
        assert_same(a[i], b[i])


def test_another_epoch_seed_or_index_gives_another_sample(tmp_path):
    fields = [make_field(tmp_path, 0)] * 2
    noisy = Augmentation(noise=1)
    dataset, other = (make_dataset(fields, augmentation=noisy, seed=seed) for seed in (3, 4))
    first = dataset[0].image
    assert not torch.equal(first, dataset[1].image)
    assert not torch.equal(first, other[0].image)
    dataset.set_epoch(1)
    assert not torch.equal(first, dataset[0].image)
    dataset.set_epoch(0)
    assert torch.equal(first, dataset[0].image)


@forks
@pytest.mark.parametrize("workers", [0, 2])
def test_workers_make_the_same_samples_epoch_after_epoch(fields, workers):
    dataset = make_dataset(fields, augmentation=Augmentation.paper())
    alone = make_dataset(fields, augmentation=Augmentation.paper(), cache_gib=0)
    sampler = EpochSampler(len(dataset), seed=1)
    loader = DataLoader(
        dataset,
        batch_size=2,
        sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        persistent_workers=workers > 0,
        multiprocessing_context="fork" if workers else None,
    )
    for epoch in range(3):
        for announced in (dataset, alone, sampler):
            announced.set_epoch(epoch)
        samples = [sample for batch in loader for sample in batch]
        assert len(samples) == 6
        for index, sample in zip(sampler.order().tolist(), samples, strict=True):
            assert_same(sample, alone[index])


def test_a_field_is_decoded_once(fields, monkeypatch):
    dataset = make_dataset(fields)
    first = dataset[0]
    fields[0].image_path.unlink()
    assert_same(dataset[0], first)


def test_a_cache_too_small_keeps_what_fits(fields):
    room_for_two = 2.5 * 75 * 100 * 3 / 2**30
    dataset = make_dataset(fields, cache_gib=room_for_two)
    whole = make_dataset(fields)
    for _ in range(2):
        for i in range(6):
            assert_same(dataset[i], whole[i])
    for field in fields:
        field.image_path.unlink()
    _ = dataset[0], dataset[1]
    with pytest.raises(BadImage):
        dataset[2]


def test_augmenting_never_spoils_the_cache(fields):
    dataset = make_dataset(fields)
    before = dataset[0].image.clone()
    dataset[0].image.zero_()
    assert torch.equal(dataset[0].image, before)


@forks
def test_workers_fill_one_cache(fields):
    dataset = make_dataset(fields)
    loader = DataLoader(dataset, batch_size=3, num_workers=2, collate_fn=collate, multiprocessing_context="fork")
    samples = [sample for batch in loader for sample in batch]
    for field in fields:
        field.image_path.unlink()
    for i in range(6):
        assert_same(dataset[i], samples[i])


def test_a_dataset_can_be_sent_to_a_spawned_worker(fields):
    dataset = make_dataset(fields, augmentation=Augmentation.paper())
    dataset.set_epoch(4)
    sent = pickle.loads(pickle.dumps(dataset))
    assert sent.epoch == 4
    assert_same(sent[3], dataset[3])


def test_labels_per_field_leave_out_the_difficult(fields):
    assert [labels.tolist() for labels in make_dataset(fields).labels_per_field] == [[0]] * 6


def test_an_image_of_another_size_than_its_labels_is_refused(fields):
    field = fields[0]
    wrong = LabelledField(field.name, field.image_path, 400, 300, field.boxes, field.labels, field.difficult)
    with pytest.raises(BadAnnotation, match="200 x 150, its labels are for 400 x 300"):
        make_dataset([wrong])[0]


@pytest.mark.parametrize("index", [-1, 6])
def test_there_is_no_field_beyond_the_last(fields, index):
    with pytest.raises(IndexError):
        make_dataset(fields)[index]


def test_iterating_ends(fields):
    assert len([sample.name for sample in make_dataset(fields)]) == 6


def test_real_fields_become_samples(data_root):
    fields = read_voc(data_root / "pbc_fields", split="val").fields[:3]
    found = tuple(sorted({label for field in fields for label in field.labels}))
    scheme = type(TAXONOMY).from_labels(found)
    dataset = FieldDataset(fields, scheme, size=(720, 540), augmentation=Augmentation.paper(), seed=0)
    for i, field in enumerate(fields):
        sample = dataset[i]
        height, width = sample.image.shape[1:]
        assert width == 720 or height == 540
        assert len(sample.boxes) + len(sample.ignored) <= len(field)
        assert len(sample.boxes) >= 1
        assert (sample.boxes >= 0).all()
        assert (sample.boxes <= torch.tensor([width, height, width, height])).all()
