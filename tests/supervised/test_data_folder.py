"""A folder of one's own: what is read, and the one line about each thing that can be wrong."""

import cv2
import numpy as np
import pytest
import torch

from camal_rl.supervised.data import ImageFolder


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    assert cv2.imwrite(str(path), stored)


def photograph(height=20, width=30, color=(200, 30, 90)):
    return np.full((height, width, 3), color, dtype=np.uint8)


def marked(height=20, width=30, rows=slice(5, 10), columns=slice(12, 20), value=255, other=0):
    mask = np.full((height, width), other, dtype=np.uint8)
    mask[rows, columns] = value
    return mask


def make_folder(root, counts, masks=True):
    for name, count in counts.items():
        for number in range(count):
            write(root / "images" / name / f"{number:03d}.png", photograph(color=(number, 0, len(name))))
            if masks:
                write(root / "masks" / name / f"{number:03d}.png", marked(value=1))
    return root


def refused(act, *parts):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the parts below are looked for.
        act()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
    return message


def test_reads_image_class_and_mask(tmp_path):
    images = ImageFolder(make_folder(tmp_path, {"dog": 2, "ant": 1}))
    assert images.classes == ("ant", "dog")
    assert images.groups == ("all",)
    assert len(images) == 3
    sample = images[2]
    assert (sample.label, sample.has_mask, sample.group) == (1, True, 0)
    assert sample.image.shape == (3, 20, 30)
    assert sample.image[:, 0, 0].tolist() == [1, 0, 3]
    expected = torch.zeros(20, 30, dtype=torch.bool)
    expected[5:10, 12:20] = True
    assert torch.equal(sample.mask, expected)
    assert images.listing().labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize("kind", ["gray", "16 bits", "color", "opaque"])
def test_nonzero_is_relevant_in_every_kind_of_file(tmp_path, kind):
    make_folder(tmp_path, {"ant": 1}, masks=False)
    mask = marked(value=7)
    stored = {
        "gray": mask,
        "16 bits": mask.astype(np.uint16) * 256,
        "color": np.stack([mask * 0, mask * 0, mask], axis=2),
        "opaque": np.stack([mask, mask, mask, np.full_like(mask, 255)], axis=2),
    }[kind]
    (tmp_path / "masks" / "ant").mkdir(parents=True)
    assert cv2.imwrite(str(tmp_path / "masks" / "ant" / "000.png"), stored)
    assert np.array_equal(ImageFolder(tmp_path)[0].mask.numpy(), mask > 0)


def test_image_without_mask_only_when_asked(tmp_path):
    make_folder(tmp_path, {"ant": 2})
    (tmp_path / "masks" / "ant" / "001.png").unlink()
    refused(
        lambda: ImageFolder(tmp_path), "1 of 2 images of class 'ant' have no mask", "001.png", "require_masks=false"
    )
    images = ImageFolder(tmp_path, require_masks=False)
    assert images.listing().has_mask.tolist() == [True, False]
    assert not images[1].has_mask
    assert not images[1].mask.any()
    assert images[1].mask.shape == (20, 30)


def test_class_folder_without_masks(tmp_path):
    make_folder(tmp_path, {"ant": 2})
    make_folder(tmp_path, {"bee": 2}, masks=False)
    refused(lambda: ImageFolder(tmp_path), "class folder 'bee' has images but no masks", "masks/bee")
    assert len(ImageFolder(tmp_path, require_masks=False)) == 4


def test_mask_of_another_size(tmp_path):
    make_folder(tmp_path, {"ant": 1})
    write(tmp_path / "masks" / "ant" / "000.png", marked(20, 31))
    images = ImageFolder(tmp_path)
    refused(lambda: images[0], "masks/ant/000.png is 31 x 20 pixels", "000.png is 30 x 20")


def test_empty_mask(tmp_path):
    make_folder(tmp_path, {"ant": 1})
    write(tmp_path / "masks" / "ant" / "000.png", marked(value=0))
    refused(lambda: ImageFolder(tmp_path)[0], "masks/ant/000.png marks no pixel", "empty_masks='no_mask'")
    sample = ImageFolder(tmp_path, empty_masks="no_mask")[0]
    assert not sample.has_mask
    refused(
        lambda: ImageFolder(tmp_path, empty_masks="skip"), "empty_masks must be one of 'error', 'no_mask', got 'skip'"
    )


@pytest.mark.parametrize("content", [b"", b"no image"])
def test_unreadable_image(tmp_path, content):
    make_folder(tmp_path, {"ant": 1})
    (tmp_path / "images" / "ant" / "000.png").write_bytes(content)
    images = ImageFolder(tmp_path)
    refused(lambda: images[0], "cannot read", "images/ant/000.png as an image")


def test_missing_folders_name_the_layout(tmp_path):
    refused(lambda: ImageFolder(tmp_path / "none"), "there is no folder", "images/<class>/<name>.jpg")
    refused(lambda: ImageFolder(tmp_path), "there is no folder", "images", "masks/<class>/<name>.png")
    (tmp_path / "images" / "ant").mkdir(parents=True)
    refused(lambda: ImageFolder(tmp_path), "contains no images (.jpg, ")


def test_hidden_files_and_folders_are_none_of_ours(tmp_path):
    make_folder(tmp_path, {"ant": 2})
    (tmp_path / "images" / ".thumbnails").mkdir()
    (tmp_path / "images" / "ant" / "._000.png").write_bytes(b"notes of another system")
    images = ImageFolder(tmp_path)
    assert images.classes == ("ant",)
    assert len(images) == 2


def test_split_folders(tmp_path):
    make_folder(tmp_path / "train", {"ant": 2})
    make_folder(tmp_path / "test", {"ant": 1})
    assert len(ImageFolder(tmp_path, split="train")) == 2
    assert len(ImageFolder(tmp_path, split="test")) == 1
    refused(lambda: ImageFolder(tmp_path, split="validation"), "unknown split 'validation'", "train, test")


def test_two_images_of_one_name(tmp_path):
    make_folder(tmp_path, {"ant": 1})
    write(tmp_path / "images" / "ant" / "000.jpg", photograph())
    refused(lambda: ImageFolder(tmp_path), "two images", "'000'")


def test_files_are_read_when_asked_for(tmp_path):
    make_folder(tmp_path, {"ant": 3})
    (tmp_path / "images" / "ant" / "001.png").write_bytes(b"broken")
    images = ImageFolder(tmp_path)
    assert images[0].has_mask
    assert images[2].has_mask


def test_a_mask_on_stored_pixels_keeps_a_turned_picture_as_it_is_stored(tmp_path):
    make_folder(tmp_path, {"ant": 1})
    done, data = cv2.imencode(".jpg", photograph())
    assert done
    jpeg = data.tobytes()
    # EXIF with one entry: orientation 6, turn by a quarter. Big endian: header, one entry, no further directory.
    tiff = (
        b"MM\x00\x2a\x00\x00\x00\x08" + b"\x00\x01" + b"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00" + b"\x00" * 4
    )
    block = b"Exif\x00\x00" + tiff
    turned = jpeg[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + jpeg[2:]
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape == (30, 20, 3)
    (tmp_path / "images" / "ant" / "000.png").unlink()
    (tmp_path / "images" / "ant" / "000.jpg").write_bytes(turned)
    assert ImageFolder(tmp_path)[0].image.shape == (3, 20, 30)
