"""Lists and tables as people save them: marks, line ends, blanks and spaces do not matter; the rest is one line."""

import pytest

from camal_rl.supervised.data import CUB200, OxfordPets, PascalVOC, UnusedDataWarning, Waterbirds
from tests.supervised.test_data_folder import photograph, refused, write
from tests.supervised.test_data_layouts import cub, lines, pets, voc, voc_map, waterbirds  # noqa: F401

MARK = b"\xef\xbb\xbf"
FORMS = {
    "byte order mark": lambda data: MARK + data,
    "CRLF": lambda data: data.replace(b"\n", b"\r\n"),
    "blank lines": lambda data: b"\n" + data + b"\n  \n\n",
    "spaces at the ends": lambda data: b"".join(b" " + line + b" \n" for line in data.splitlines()),
    "no last line end": lambda data: data.rstrip(),
    "all": lambda data: MARK + b"\r\n" + data.replace(b"\n", b" \r\n") + b"\r\n\r\n",
}


def saved(folder, form):
    for path in (*folder.rglob("*.txt"), *folder.rglob("*.csv")):
        path.write_bytes(FORMS[form](path.read_bytes()))


@pytest.mark.parametrize("form", FORMS)
def test_pets_in_every_form(pets, form):  # noqa: F811
    saved(pets, form)
    images = OxfordPets(pets, split="trainval")
    assert images.classes == ("Abyssinian", "yorkshire_terrier")
    assert [file.image.stem for file in images.files] == ["Abyssinian_1", "yorkshire_terrier_7"]


@pytest.mark.parametrize("form", FORMS)
def test_cub_in_every_form(cub, form):  # noqa: F811
    saved(cub, form)
    images = CUB200(cub, split="train")
    assert images.classes == ("001.Gull", "002.Wren")
    assert [file.image.name for file in images.files] == ["Gull_1.jpg", "Wren_1.jpg"]


@pytest.mark.parametrize("form", FORMS)
def test_voc_in_every_form(voc, form):  # noqa: F811
    saved(voc, form)
    assert [file.image.stem for file in PascalVOC(voc, split="train").files] == ["a", "b"]


@pytest.mark.parametrize("form", FORMS)
def test_waterbirds_in_every_form(waterbirds, form):  # noqa: F811
    saved(waterbirds, form)
    images = Waterbirds(waterbirds / "waterbirds", split="train", segmentations=waterbirds / "cub")
    assert [file.image.name for file in images.files] == ["Bird_0.jpg", "Bird_1.jpg", "Bird_2.jpg"]


def load_waterbirds(folder):
    return Waterbirds(folder / "waterbirds", split="train", segmentations=folder / "cub")


def test_spaces_around_cells_do_not_count(waterbirds):  # noqa: F811
    path = waterbirds / "waterbirds" / "metadata.csv"
    path.write_text(path.read_text().replace(",", " , "))
    assert len(load_waterbirds(waterbirds)) == 3


@pytest.mark.parametrize(("sign", "words"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")])
def test_other_delimiters_are_named(waterbirds, sign, words):  # noqa: F811
    path = waterbirds / "waterbirds" / "metadata.csv"
    path.write_text(path.read_text().replace(",", sign))
    refused(lambda: load_waterbirds(waterbirds), str(path), f"has {words} between its cells", "save it with commas")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("9,x.jpg,0,0", "line 4 has 4 cells, the header has 6"),
        ("9,x.jpg,0,0,0,p,q", "line 4 has 7 cells, the header has 6"),
        ('9,"x.jpg,0,0,0,p', "is not a row of a comma-separated table"),
        ("9,x.jpg,,0,0,p", "metadata.csv contains '', expected a number in [0, 1] (line 4)"),
        ("9,x.jpg,\u0661,0,0,p", "expected a number in [0, 1] (line 4)"),
        ("9,gone.jpg,0,0,0,p", "there is no file"),
        ("9,000.Bird/Bird_0.jpg,0,0,0,p", "is listed twice"),
    ],
)
def test_a_wrong_row_is_named(waterbirds, row, message):  # noqa: F811
    path = waterbirds / "waterbirds" / "metadata.csv"
    rows = path.read_text().splitlines()
    path.write_text("\n".join([*rows[:3], row]))
    refused(lambda: load_waterbirds(waterbirds), str(path), message)


def test_other_encodings_name_file_and_line(waterbirds, pets):  # noqa: F811
    path = waterbirds / "waterbirds" / "metadata.csv"
    data = path.read_bytes()
    path.write_bytes(data.replace(b"/p/place_1", b"/p/\xe9tang_1"))
    refused(lambda: load_waterbirds(waterbirds), f"{path}, line 3 is not text in UTF-8 (byte 0xe9)", "as UTF-8")
    for encoding in ("utf-16", "utf-16-le"):
        path.write_bytes(data.decode().encode(encoding))
        refused(lambda: load_waterbirds(waterbirds), f"{path}, line 1 is not text in UTF-8")


def test_images_that_are_listed_twice(pets, cub, voc):  # noqa: F811
    lines(pets / "annotations" / "test.txt", "Abyssinian_1 1 1 1")
    refused(lambda: OxfordPets(pets, split="test"), "image 'Abyssinian_1' is listed twice", "trainval.txt, line 1")
    lines(cub / "images.txt", "1 001.Gull/Gull_1.jpg", "1 001.Gull/Gull_2.jpg")
    refused(lambda: CUB200(cub, split="train"), "image '1' is listed twice", "images.txt, line 2")
    lines(voc / "ImageSets/Segmentation/val.txt", "c", "a")
    refused(lambda: PascalVOC(voc, split="train"), "image 'a' is listed twice", "val.txt, line 2")


def test_lists_that_do_not_fit_each_other(cub):  # noqa: F811
    lines(cub / "image_class_labels.txt", "1 1", "2 1", "3 2", "4 2")
    refused(lambda: CUB200(cub, split="train"), "image_class_labels.txt, line 4 is of image 4", "does not list")
    lines(cub / "image_class_labels.txt", "1 1", "2 1", "3 2")
    lines(cub / "train_test_split.txt", "1 1", "2 yes", "3 1")
    refused(lambda: CUB200(cub, split="train"), "train_test_split.txt contains 'yes'", "(line 2)")
    lines(cub / "train_test_split.txt", "1 1", "2 0 1", "3 1")
    refused(lambda: CUB200(cub, split="train"), "train_test_split.txt, line 2 is '2 0 1'; expected 2 words")
    lines(cub / "classes.txt", "2 002.Wren", "1 001.Gull")
    refused(lambda: CUB200(cub, split="train"), "classes.txt contains '2', expected a number in [1, 1]")


def test_missing_files_are_counted(voc):  # noqa: F811
    (voc / "JPEGImages" / "b.jpg").unlink()
    refused(lambda: PascalVOC(voc, split="train"), "there is no file", "b.jpg; of 2 images in", "1 are missing")
    write(voc / "SegmentationClass" / "b.png", voc_map())


def test_pets_that_no_list_names_are_told(pets):  # noqa: F811
    write(pets / "images" / "Birman_3.jpg", photograph())
    with pytest.warns(UnusedDataWarning, match=r"images: 1 images that .* does not list, first .*Birman_3.jpg"):
        OxfordPets(pets, split="test")


def test_birds_that_no_list_names_are_told(cub):  # noqa: F811
    write(cub / "images" / "003.Owl" / "Owl_1.jpg", photograph())
    with pytest.warns(UnusedDataWarning, match=r"images: 1 images that .* does not list, first .*Owl_1.jpg"):
        CUB200(cub, split="train")


def test_waterbirds_that_no_list_names_are_told(waterbirds):  # noqa: F811
    write(waterbirds / "waterbirds" / "000.Bird" / "Bird_9.jpg", photograph())
    with pytest.warns(UnusedDataWarning, match=r"1 images that .* does not list, first .*Bird_9.jpg"):
        load_waterbirds(waterbirds)
