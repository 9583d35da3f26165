"""Image sets by name: splits, held-out parts, masks for some of the images, and what is refused."""

import numpy as np
import pytest
import torch

from camal_rl.supervised.data import (
    IMAGE_SETS,
    Augmented,
    ChangedMasks,
    MaskFraction,
    Resized,
    SpuriousShapes,
    Subset,
    held_out,
    image_sets,
    known_options,
)
from tests.supervised.test_data_folder import make_folder


def kept(images):
    return [index for index in range(len(images)) if images[index].has_mask]


@pytest.mark.parametrize(("fraction", "count"), [(0.0, 0), (0.001, 1), (0.1, 5), (0.5, 25), (1.0, 50)])
def test_mask_fraction_is_stratified(fraction, count):
    images = MaskFraction(SpuriousShapes(length=200, image_size=32), fraction, seed=4)
    having = kept(images)
    assert np.bincount([index % 4 for index in having], minlength=4).tolist() == [count] * 4
    assert images.listing().has_mask.nonzero()[0].tolist() == having
    without = next((index for index in range(200) if index not in having), None)
    if without is not None:
        assert not images[without].mask.any()
        assert images[without].mask.shape == (32, 32)


def test_mask_fractions_are_nested_and_seeded():
    source = SpuriousShapes(length=200, image_size=32)
    one, ten, again = (kept(MaskFraction(source, fraction, 4)) for fraction in (0.04, 0.2, 0.2))
    assert set(one) < set(ten)
    assert ten == again
    assert ten != kept(MaskFraction(source, 0.2, 5))


def test_mask_fraction_changes_nothing_else():
    source = SpuriousShapes(length=40, image_size=32)
    images = MaskFraction(source, 0.1)
    for index in range(40):
        assert torch.equal(images[index].image, source[index].image)
        assert (images[index].label, images[index].group) == (source[index].label, source[index].group)


def test_mask_fraction_chooses_among_images_that_have_one(tmp_path):
    from camal_rl.supervised.data import ImageFolder

    make_folder(tmp_path, {"ant": 10, "bee": 10})
    for number in range(7):
        (tmp_path / "masks" / "ant" / f"{number:03d}.png").unlink()
    source = ImageFolder(tmp_path, require_masks=False)
    assert set(kept(MaskFraction(source, 0.2))) - set(range(10, 20)) <= {7, 8, 9}
    assert len(kept(MaskFraction(source, 0.2))) == 4
    assert kept(MaskFraction(source, 1.0)) == [7, 8, 9, *range(10, 20)]


def test_masks_of_training_images_can_be_made_worse():
    settings = {"image_size": 32, "train_length": 20, "validation_length": 8, "test_length": 8}
    exact = image_sets("spurious_shapes", **settings)
    grown = image_sets("spurious_shapes", mask_change="dilated", mask_amount=0.25, **settings)
    for index in range(20):
        true, worse = exact["train"][index], grown["train"][index]
        assert torch.equal(true.image, worse.image)
        assert worse.mask[true.mask].all()
        assert worse.mask.sum().item() == pytest.approx(1.25 * true.mask.sum().item(), abs=1)
    assert torch.equal(exact["test"][3].mask, grown["test"][3].mask)


def test_an_image_whose_mask_is_missed_has_none():
    images = ChangedMasks(SpuriousShapes(length=40, image_size=32), "noisy", 0.5)
    empty = [sample for sample in (images[index] for index in range(40)) if not sample.mask.any()]
    assert 4 < len(empty) < 20
    assert not any(sample.has_mask for sample in empty)


def test_held_out_is_a_partition_by_class():
    source = SpuriousShapes(length=100, image_size=32)
    train, validation = held_out(source, 0.2, seed=1)
    assert sorted([*train.indices, *validation.indices]) == list(range(100))
    assert np.bincount(validation.indices % 4).tolist() == [5, 5, 5, 5]
    assert held_out(source, 0.2, seed=1)[1].indices.tolist() == validation.indices.tolist()
    assert held_out(source, 0.2, seed=2)[1].indices.tolist() != validation.indices.tolist()
    assert torch.equal(validation[3].image, source[int(validation.indices[3])].image)
    assert len(held_out(source, 0.0, seed=1)[1]) == 0


def test_held_out_needs_two_images_of_a_class(tmp_path):
    make_folder(tmp_path, {"ant": 1, "bee": 5})
    with pytest.raises(ValueError, match="class 'ant' has one image, which cannot be split; set test_fraction=0"):
        image_sets("folder", root=tmp_path)


def test_sets_that_do_not_know_their_listing_are_read():
    class Plain:
        classes = ("circle", "triangle", "square", "star")
        groups = ("all",)
        source = SpuriousShapes(length=40, image_size=32)

        def __len__(self):
            return 40

        def __getitem__(self, index):
            return self.source[index]

    assert kept(MaskFraction(Plain(), 0.2, 4)) == kept(MaskFraction(Plain.source, 0.2, 4))


def test_spurious_shapes():
    sets = image_sets("spurious_shapes", image_size=40, seed=2, mask_fraction=0.1, train_length=40, difficulty="hard")
    assert list(sets) == ["train", "validation", "test"]
    assert [len(images) for images in sets.values()] == [40, 1000, 2000]
    assert len(kept(sets["train"])) == 4
    assert sets["test"].correlation == 0.25
    assert sets["validation"].correlation == 0.95
    plain = SpuriousShapes("train", length=40, image_size=40, seed=2, difficulty="hard")
    assert torch.equal(sets["train"][7].image, plain[7].image)
    assert sets["test"].on_background(0, 1, 0).image.shape == (3, 40, 40)


@pytest.mark.parametrize("augment", [True, {"flip": 0.0}])
def test_augment_where_asked_for(augment):
    sets = image_sets("spurious_shapes", train_length=8, augment=augment)
    assert isinstance(sets["train"], Augmented)
    assert isinstance(sets["test"], SpuriousShapes)


def test_folder_without_splits(tmp_path):
    make_folder(tmp_path, {"ant": 20, "bee": 30})
    sets = image_sets("folder", root=str(tmp_path), image_size=24, seed=3, validation_fraction=0.25, test_fraction=0.2)
    # Of 20 and 30 images 4 and 6 are for the test; of the other 16 and 24 a quarter for validation.
    counts = {name: np.bincount(images.listing().labels).tolist() for name, images in sets.items()}
    assert counts == {"train": [12, 18], "validation": [4, 6], "test": [4, 6]}
    assert isinstance(sets["train"], Augmented)
    assert isinstance(sets["test"], Resized)
    # The pictures' red is their number, so no picture is in two parts.
    plain = image_sets(
        "folder", root=tmp_path, seed=3, validation_fraction=0.25, test_fraction=0.2, augment=False, image_size=24
    )
    found = [(images[i].label, int(images[i].image[0, 0, 0])) for images in plain.values() for i in range(len(images))]
    assert len(found) == len(set(found)) == 50
    assert all(images[0].image.shape == (3, 24, 24) for images in plain.values())


def test_folder_with_splits(tmp_path):
    make_folder(tmp_path / "train", {"ant": 10, "bee": 10})
    make_folder(tmp_path / "test", {"ant": 3, "bee": 3})
    sets = image_sets("folder", root=tmp_path)
    assert {name: len(images) for name, images in sets.items()} == {"train": 18, "validation": 2, "test": 6}
    make_folder(tmp_path / "validation", {"ant": 3, "cow": 3})
    with pytest.raises(ValueError, match="validation has other class folders than train"):
        image_sets("folder", root=tmp_path)


def test_folder_with_splits_but_no_train(tmp_path):
    make_folder(tmp_path / "test", {"ant": 3})
    with pytest.raises(ValueError, match="has the folders test but not train"):
        image_sets("folder", root=tmp_path)


def test_masks_are_hidden_in_training_only(tmp_path):
    make_folder(tmp_path, {"ant": 20, "bee": 20})
    sets = image_sets("folder", root=tmp_path, mask_fraction=0.0)
    assert kept(sets["train"]) == []
    assert len(kept(sets["test"])) == 8


def test_subset_listing():
    part = Subset(SpuriousShapes(length=10, image_size=32), [9, 2])
    assert part.listing().labels.tolist() == [1, 2]
    with pytest.raises(IndexError):
        part[2]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"name": "spurious_shape"}, ValueError, "did you mean 'spurious_shapes'[?] known: spurious_shapes, folder"),
        ({"name": "cub", "root": "x", "split": 1}, ValueError, "unknown option of cub 'split'; known: segmentations"),
        ({"name": "spurious_shapes", "dificulty": "easy"}, ValueError, "did you mean 'difficulty'"),
        ({"name": "spurious_shapes", "root": "x"}, ValueError, "is generated and reads no folder; omit root='x'"),
        ({"name": "voc"}, ValueError, "voc reads a local copy; set root to its folder"),
        ({"name": "voc", "root": "/nowhere"}, ValueError, "there is no folder /nowhere; expected Pascal VOC"),
        ({"name": "spurious_shapes", "mask_fraction": 2}, ValueError, r"mask_fraction must be in \[0, 1\], got 2"),
        ({"name": "spurious_shapes", "mask_change": "boxed"}, ValueError, "did you mean 'boxes'"),
        ({"name": "spurious_shapes", "mask_amount": -1}, ValueError, r"mask_amount must be in \[0, 1\], got -1"),
        (
            {"name": "spurious_shapes", "augment": "yes"},
            TypeError,
            "augment must be true, false or a mapping of settings",
        ),
        (
            {"name": "spurious_shapes", "augment": {"zoom": 1}},
            ValueError,
            "unknown option of augment 'zoom'; known: crop",
        ),
        ({"name": "spurious_shapes", "image_size": 64.0}, TypeError, "image_size must be an integer, got 64.0"),
        ({"name": "spurious_shapes", "seed": None}, TypeError, "seed must be an integer, got None"),
    ],
)
def test_bad_arguments_are_one_line(arguments, error, message):
    with pytest.raises(error, match=message) as caught:
        image_sets(**arguments)
    assert "\n" not in str(caught.value)


def test_every_name_lists_its_options():
    assert IMAGE_SETS == ("spurious_shapes", "folder", "oxford_pets", "cub", "voc", "waterbirds")
    assert {name: known_options(name)[0] for name in IMAGE_SETS} == {
        "spurious_shapes": "num_classes",
        "folder": "require_masks",
        "oxford_pets": "target",
        "cub": "segmentations",
        "voc": "validation_fraction",
        "waterbirds": "segmentations",
    }
