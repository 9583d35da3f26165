"""Whatever in a folder of images is not used is an error or a warning that names it; junk of systems is quiet."""

import warnings

import numpy as np
import pytest

from camal_rl.supervised.data import ImageFolder, UnusedDataWarning, image_sets
from tests.supervised.test_data_folder import make_folder, marked, photograph, refused, write


@pytest.fixture
def root(tmp_path):
    return make_folder(tmp_path / "root", {"ant": 2, "bee": 2})


def quiet(act):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return act()


def warned(act):
    """Return the one line of warning of an action."""
    with pytest.warns(UnusedDataWarning) as caught:
        act()
    (message,) = (str(each.message) for each in caught)
    assert "\n" not in message
    return message


def put(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"something")


@pytest.mark.parametrize(
    "junk",
    [".DS_Store", "images/ant/Thumbs.db", "images/ant/desktop.ini", "images/ant/._000.png", "images/@eaDir/x.jpg",
     "masks/ant/.ipynb_checkpoints/000.png"],
)  # fmt: skip
def test_junk_of_systems_is_quiet(root, junk):
    put(root / junk)
    assert quiet(lambda: ImageFolder(root)).classes == ("ant", "bee")


@pytest.mark.parametrize(
    ("unused", "named"),
    [
        ("README.md", "README.md"),
        ("labels/a.csv", "labels (1 file)"),
        ("images/notes.txt", "images/notes.txt"),
        ("images/__MACOSX/ant/a.jpg", "images/__MACOSX (1 file)"),
        ("__MACOSX/images/ant/a.jpg", "__MACOSX (1 file)"),
        ("images/ant/a.gif", "images/ant/a.gif"),
        ("images/ant/a.HEIC", "images/ant/a.HEIC"),
        ("images/ant/deeper/a.txt", "images/ant/deeper (1 file)"),
        ("masks/ant/007.png", "masks/ant/007.png"),
        ("masks/ant/000.tif", "masks/ant/000.tif"),
        ("masks/000.png", "masks/000.png"),
        ("masks/wasp/000.png", "masks/wasp (1 file)"),
        ("masks/ant/deeper/000.png", "masks/ant/deeper (1 file)"),
    ],
)
def test_what_is_not_used_is_named_in_a_warning(root, unused, named):
    put(root / unused)
    assert warned(lambda: ImageFolder(root)) == f"unused in {root}: {named}"
    assert len(warned(lambda: image_sets("folder", root=root, validation_fraction=0)).splitlines()) == 1


def test_many_unused_files_are_still_one_line(root):
    for number in range(9):
        put(root / f"{number}.txt")
    message = warned(lambda: ImageFolder(root))
    assert message == f"unused in {root}: 0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 4 more"


@pytest.mark.parametrize("held", [None, "a.gif", "inner/a.txt"])
def test_a_class_without_images_is_an_error(root, held):
    (root / "images" / "cow").mkdir()
    if held:
        put(root / "images" / "cow" / held)
    refused(lambda: ImageFolder(root), f"class folder {root / 'images' / 'cow'} has no images", "remove it")


def test_images_in_a_wrong_place_are_an_error(root):
    write(root / "images" / "ant" / "more" / "a.png", photograph())
    refused(
        lambda: ImageFolder(root), "1 images are in subfolders that are not read", str(root / "images/ant/more/a.png")
    )
    (root / "images" / "ant" / "more" / "a.png").rename(root / "images" / "a.png")
    refused(lambda: ImageFolder(root), "1 images are not in a class folder", str(root / "images/a.png"))


def test_a_folder_with_the_name_of_an_image_is_none(root):
    (root / "images" / "ant" / "x.png").mkdir()
    assert "images/ant/x.png (an empty folder)" in warned(lambda: ImageFolder(root))


@pytest.mark.parametrize("name", ["val", "valid", "dev", "Test", "held_out"])
def test_a_split_that_is_not_read_is_an_error(tmp_path, root, name):
    root.rename(tmp_path / "train")
    make_folder(tmp_path / name, {"ant": 1, "bee": 1})
    refused(
        lambda: image_sets("folder", root=tmp_path), f"folder {tmp_path / name} is not read", "train, validation, test"
    )


def test_a_split_beside_images_is_an_error(root):
    put(root / "val" / "ant" / "a.jpg")
    refused(lambda: ImageFolder(root), f"folder {root / 'val'} is not read, because images come from {root / 'images'}")


def test_a_file_beside_splits_is_named(tmp_path, root):
    root.rename(tmp_path / "train")
    make_folder(tmp_path / "test", {"ant": 1, "bee": 1})
    put(tmp_path / "notes.txt")
    message = warned(lambda: image_sets("folder", root=tmp_path, validation_fraction=0))
    assert message == f"unused in {tmp_path}: notes.txt"


def test_a_test_set_may_lack_a_class_but_says_so(tmp_path, root):
    root.rename(tmp_path / "train")
    make_folder(tmp_path / "test", {"ant": 1})
    (tmp_path / "test" / "images" / "bee").mkdir()
    message = warned(lambda: image_sets("folder", root=tmp_path, validation_fraction=0))
    assert f"class folder {tmp_path / 'test' / 'images' / 'bee'} has no images" in message


def test_a_mask_of_another_name_is_pointed_at(root):
    (root / "masks" / "ant" / "000.png").rename(root / "masks" / "ant" / "000_mask.png")
    refused(lambda: ImageFolder(root), "1 of 2 images of class 'ant' have no mask", "there is 000_mask.png")
    assert "masks/ant/000_mask.png" in warned(lambda: ImageFolder(root, require_masks=False))


def test_masks_that_vanish_are_counted(tmp_path):
    for number in range(4):
        write(tmp_path / "images" / "ant" / f"{number}.png", photograph(400, 400))
        tiny = number < 3
        mask = marked(400, 400, slice(0, 1 if tiny else 200), slice(0, 1 if tiny else 200))
        write(tmp_path / "masks" / "ant" / f"{number}.png", mask)
    for augment in (False, {"crop_area": 1, "flip": 0}):
        train = image_sets(
            "folder", root=tmp_path, image_size=16, augment=augment, validation_fraction=0, test_fraction=0
        )["train"]
        assert train.lost_masks() == 0
        assert [train[index].has_mask for index in range(4)] == [False, False, False, True]
        assert [train[index].has_mask for index in range(2)] == [False, False]
        assert train.lost_masks() == 3
        assert np.flatnonzero(train.listing().has_mask).tolist() == [0, 1, 2, 3]
