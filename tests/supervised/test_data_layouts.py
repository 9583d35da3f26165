"""Published layouts, in tiny trees of the same form."""

import numpy as np
import pytest

from camal_rl.supervised.data import CUB200, OxfordPets, PascalVOC, Waterbirds
from tests.supervised.test_data_folder import marked, photograph, write

# VOC's published palette, as its development kit prints it.
AEROPLANE, BIRD, CAT, PERSON, MONITOR, VOID = (
    (128, 0, 0),
    (128, 128, 0),
    (64, 0, 0),
    (192, 128, 128),
    (0, 64, 128),
    (224, 224, 192),
)


def lines(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n")


def region(rows, columns, shape=(20, 30)):
    mask = np.zeros(shape, dtype=bool)
    mask[rows, columns] = True
    return mask


@pytest.fixture
def pets(tmp_path):
    for name in ("Abyssinian_1", "Abyssinian_2", "yorkshire_terrier_7"):
        write(tmp_path / "images" / f"{name}.jpg", photograph())
        trimap = np.full((20, 30), 2, dtype=np.uint8)
        trimap[4:12, 5:15] = 3
        trimap[5:11, 6:14] = 1
        write(tmp_path / "annotations" / "trimaps" / f"{name}.png", trimap)
    lines(tmp_path / "annotations" / "trainval.txt", "Abyssinian_1 1 1 1", "yorkshire_terrier_7 2 2 1")
    lines(tmp_path / "annotations" / "test.txt", "Abyssinian_2 1 1 1")
    return tmp_path


def test_pets_trimap_and_border(pets):
    images = OxfordPets(pets, split="trainval")
    assert images.classes == ("Abyssinian", "yorkshire_terrier")
    assert [images[index].label for index in range(2)] == [0, 1]
    assert np.array_equal(images[1].mask.numpy(), region(slice(5, 11), slice(6, 14)))
    wide = OxfordPets(pets, split="test", border="inside")
    assert np.array_equal(wide[0].mask.numpy(), region(slice(4, 12), slice(5, 15)))


def test_pets_by_species(pets):
    images = OxfordPets(pets, split="trainval", target="species")
    assert images.classes == ("cat", "dog")
    assert images.listing().labels.tolist() == [0, 1]


def test_pets_errors(pets):
    with pytest.raises(ValueError, match="split must be one of 'trainval', 'test', got 'train'"):
        OxfordPets(pets, split="train")
    write(pets / "annotations" / "trimaps" / "Abyssinian_1.png", marked(value=255))
    with pytest.raises(ValueError, match=r"Abyssinian_1.png is not a trimap: expected one channel with 1 \(pet\)"):
        OxfordPets(pets, split="trainval")[0]
    lines(pets / "annotations" / "trainval.txt", "Abyssinian_1 one 1 1")
    with pytest.raises(ValueError, match=r"trainval.txt contains 'one', expected a number in \[1, 1000\]"):
        OxfordPets(pets, split="trainval")
    (pets / "annotations" / "trainval.txt").unlink()
    with pytest.raises(
        ValueError, match=r"there is no file .*trainval.txt; expected Oxford-IIIT Pet: images/<name>.jpg"
    ):
        OxfordPets(pets, split="trainval")


@pytest.fixture
def cub(tmp_path):
    names = ("001.Gull/Gull_1", "001.Gull/Gull_2", "002.Wren/Wren_1")
    for name in names:
        write(tmp_path / "images" / f"{name}.jpg", photograph())
        votes = marked(value=102)  # Two of five annotators.
        votes[6:9, 13:18] = 153  # Three of five.
        write(tmp_path / "segmentations" / f"{name}.png", votes)
    lines(tmp_path / "images.txt", *(f"{number} {name}.jpg" for number, name in enumerate(names, start=1)))
    lines(tmp_path / "image_class_labels.txt", "1 1", "2 1", "3 2")
    lines(tmp_path / "train_test_split.txt", "1 1", "2 0", "3 1")
    lines(tmp_path / "classes.txt", "1 001.Gull", "2 002.Wren")
    return tmp_path


def test_cub_takes_the_majority_and_the_published_split(cub):
    train, test = CUB200(cub, split="train"), CUB200(cub, split="test")
    assert train.classes == ("001.Gull", "002.Wren")
    assert [file.image.name for file in train.files] == ["Gull_1.jpg", "Wren_1.jpg"]
    assert [file.image.name for file in test.files] == ["Gull_2.jpg"]
    assert [train[0].label, train[1].label] == [0, 1]
    assert np.array_equal(train[1].mask.numpy(), region(slice(6, 9), slice(13, 18)))


def test_cub_segmentations_may_lie_elsewhere(cub, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("masks") / "seg"
    (cub / "segmentations").rename(elsewhere)
    with pytest.raises(ValueError, match=r"there is no folder .*segmentations; expected CUB's segmentations"):
        CUB200(cub, split="train")
    assert CUB200(cub, split="train", segmentations=elsewhere)[0].has_mask


def test_cub_errors(cub):
    (cub / "segmentations/001.Gull/Gull_1.png").unlink()
    with pytest.raises(ValueError, match=r"there is no file .*Gull_1.png"):
        CUB200(cub, split="train")[0]
    lines(cub / "image_class_labels.txt", "1 1", "2 1", "3 9")
    with pytest.raises(ValueError, match=r"image_class_labels.txt contains '9', expected a number in \[1, 2\]"):
        CUB200(cub, split="train")
    lines(cub / "train_test_split.txt", "1 1")
    with pytest.raises(ValueError, match=r"image 2 of .* has no class or no split"):
        CUB200(cub, split="train")


def voc_map(*boxes):
    colors = np.zeros((20, 30, 3), dtype=np.uint8)
    for rows, columns, color in boxes:
        colors[rows, columns] = color
    return colors


@pytest.fixture
def voc(tmp_path):
    maps = {
        "a": voc_map(
            (slice(0, 12), slice(0, 12), VOID),
            (slice(1, 11), slice(1, 11), CAT),
            (slice(14, 18), slice(4, 12), PERSON),
        ),
        "b": voc_map((slice(0, 3), slice(0, 4), AEROPLANE), (slice(5, 19), slice(5, 25), MONITOR)),
        # A void as large as this is no class, and a tie goes to the first class of the list.
        "c": voc_map((slice(0, 15), slice(0, 30), VOID), (15, slice(0, 6), PERSON), (16, slice(0, 6), BIRD)),
    }
    for name, colors in maps.items():
        write(tmp_path / "JPEGImages" / f"{name}.jpg", photograph())
        write(tmp_path / "SegmentationClass" / f"{name}.png", colors)
    lines(tmp_path / "ImageSets/Segmentation/train.txt", "a", "b")
    lines(tmp_path / "ImageSets/Segmentation/val.txt", "c")
    return tmp_path


def test_voc_class_is_the_largest_and_void_counts_outside(voc):
    images = PascalVOC(voc, split="train")
    assert len(images.classes) == 20
    assert [images.classes[images[index].label] for index in range(2)] == ["cat", "tvmonitor"]
    assert np.array_equal(images[0].mask.numpy(), region(slice(1, 11), slice(1, 11)))
    assert np.array_equal(images[1].mask.numpy(), region(slice(5, 19), slice(5, 25)))
    (held_out,) = PascalVOC(voc, split="val")
    assert images.classes[held_out.label] == "bird"
    assert held_out.mask.sum() == 6


def test_voc_reads_numbers_too(voc):
    numbers = np.zeros((20, 30), dtype=np.uint8)
    numbers[2:5, 2:5], numbers[8:10] = 12, 255
    write(voc / "SegmentationClass" / "c.png", numbers)
    (sample,) = PascalVOC(voc, split="val")
    assert PascalVOC(voc, split="val").classes[sample.label] == "dog"
    assert np.array_equal(sample.mask.numpy(), region(slice(2, 5), slice(2, 5)))


@pytest.mark.parametrize("color", [(1, 0, 0), (64, 128, 192), (224, 224, 224)])
def test_voc_refuses_other_colors(voc, color):
    write(voc / "SegmentationClass" / "c.png", voc_map((slice(0, 4), slice(0, 4), color)))
    with pytest.raises(ValueError, match=r"c.png is not a segmentation of Pascal VOC"):
        PascalVOC(voc, split="val")


def test_voc_errors(voc):
    write(voc / "SegmentationClass" / "c.png", voc_map((slice(0, 4), slice(0, 4), VOID)))
    with pytest.raises(ValueError, match=r"c.png contains no object of the 20 classes"):
        PascalVOC(voc, split="val")
    with pytest.raises(ValueError, match="split must be one of 'train', 'val', 'trainval', got 'test'"):
        PascalVOC(voc, split="test")
    with pytest.raises(ValueError, match=r"there is no file .*trainval.txt; expected Pascal VOC"):
        PascalVOC(voc, split="trainval")


@pytest.fixture
def waterbirds(tmp_path):
    rows = []
    for number, (y, place, split) in enumerate([(0, 0, 0), (0, 1, 0), (1, 1, 0), (1, 0, 1), (0, 1, 2), (1, 1, 2)]):
        name = f"00{y}.Bird/Bird_{number}"
        write(tmp_path / "waterbirds" / f"{name}.jpg", photograph())
        write(tmp_path / "cub" / f"{name}.png", marked(value=255))
        rows.append(f"{number},{name}.jpg,{y},{place},{split},/p/place_{number}.jpg")
    lines(tmp_path / "waterbirds" / "metadata.csv", "img_id,img_filename,y,place,split,place_filename", *rows)
    return tmp_path


def test_waterbirds_groups_splits_and_masks(waterbirds):
    def load(split):
        return Waterbirds(waterbirds / "waterbirds", split=split, segmentations=waterbirds / "cub")

    train = load("train")
    assert train.classes == ("landbird", "waterbird")
    assert [train.groups[train[index].group] for index in range(3)] == [
        "landbird on land",
        "landbird on water",
        "waterbird on water",
    ]
    assert [train[index].label for index in range(3)] == [0, 0, 1]
    assert load("validation").groups[load("validation")[0].group] == "waterbird on land"
    assert len(load("test")) == 2
    assert np.array_equal(train[2].mask.numpy(), marked() > 0)


def test_waterbirds_errors(waterbirds):
    root, masks = waterbirds / "waterbirds", waterbirds / "cub"
    with pytest.raises(ValueError, match="split must be one of 'train', 'validation', 'test', got 'val'"):
        Waterbirds(root, split="val", segmentations=masks)
    with pytest.raises(ValueError, match=r"there is no folder .*segmentations; expected CUB's"):
        Waterbirds(root, split="train")
    lines(root / "metadata.csv", "img_filename,y,place,split", "a.jpg,2,0,0")
    with pytest.raises(ValueError, match=r"metadata.csv contains '2', expected a number in \[0, 1\]"):
        Waterbirds(root, split="train", segmentations=masks)
    lines(root / "metadata.csv", "img_filename,y", "a.jpg,1")
    with pytest.raises(ValueError, match=r"metadata.csv lacks the columns place, split; expected Waterbirds"):
        Waterbirds(root, split="train", segmentations=masks)
    (root / "metadata.csv").unlink()
    with pytest.raises(ValueError, match=r"there is no file .*metadata.csv; expected Waterbirds"):
        Waterbirds(root, split="train", segmentations=masks)
