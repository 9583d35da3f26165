"""Sample types of image and mask files: each is read as it is meant, or refused in one line that names the file."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from camal_rl.supervised.data import ImageFolder
from camal_rl.supervised.data.decoding import StoredImage, read_gray, read_image, read_mask
from tests.supervised.test_data_folder import make_folder, marked, photograph, refused, write

RNG = np.random.default_rng(0)
GRAY = RNG.integers(1, 255, (6, 8)).astype(np.uint8)
COLOR = RNG.integers(0, 255, (6, 8, 3)).astype(np.uint8)
FRAMES = [Image.fromarray(RNG.integers(0, 255, (6, 8, 3)).astype(np.uint8)) for _ in range(3)]


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(samples, sample_format, photometric=1, pages=1, **tags):
    """Return an uncompressed TIFF file of gray or multi-channel samples, all pages alike."""
    height, width = samples.shape[:2]
    channels = samples.shape[2] if samples.ndim == 3 else 1
    data = samples.tobytes()
    out, places = b"II*\x00" + struct.pack("<I", 8 + len(data)) + data, {}
    entries = {
        254: 0, 256: width, 257: height, 258: samples.itemsize * 8, 259: 1, 262: photometric, 273: 8, 277: channels,
        278: height, 279: len(data), 339: sample_format,
        **{int(tag.removeprefix("tag")): value for tag, value in tags.items()},
    }  # fmt: skip
    if channels == 2:  # Both values fit into the entry.
        entries[258], entries[339] = (entries[tag] * 0x10001 for tag in (258, 339))
    if channels > 2:
        for tag in (258, 339):
            places[tag] = len(out)
            out += struct.pack(f"<{channels}H", *[entries[tag]] * channels)
        out = out[:4] + struct.pack("<I", len(out)) + out[8:]
    for page in range(pages):
        out += struct.pack("<H", len(entries))
        for tag, value in sorted(entries.items()):
            if tag in places:
                out += struct.pack("<HHII", tag, 3, channels, places[tag])
            elif tag in (258, 339):
                out += struct.pack("<HHII", tag, 3, channels, value)
            else:
                out += struct.pack("<HHII", tag, 4, 1, value)
        out += struct.pack("<I", len(out) + 4 if page + 1 < pages else 0)
    return out


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(rows, width, bits, color, *chunks):
    """Return a PNG file of packed rows."""
    header = struct.pack(">IIBBBBB", width, len(rows), bits, color, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\x00" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + data + chunk(b"IEND", b"")


def palette_png(numbers, colors, *chunks):
    palette = chunk(b"PLTE", np.array(colors, dtype=np.uint8).tobytes())
    return png([row.tobytes() for row in numbers.astype(np.uint8)], numbers.shape[1], 8, 3, palette, *chunks)


def opaque(pixels, opacity=255):
    return np.dstack([pixels, np.full(pixels.shape[:2], opacity, dtype=np.uint8)])


RIGHT = {
    "8-bit RGB PNG": (encoded(COLOR, "PNG"), COLOR),
    "gray PNG": (encoded(GRAY, "PNG"), GRAY),
    "16-bit gray PNG": (cv2.imencode(".png", GRAY.astype(np.uint16) * 257)[1].tobytes(), GRAY),
    "16-bit RGB PNG": (cv2.imencode(".png", COLOR[..., ::-1].astype(np.uint16) * 257)[1].tobytes(), COLOR),
    "opaque RGBA PNG": (encoded(opaque(COLOR), "PNG"), COLOR),
    "palette PNG": (palette_png(np.arange(48).reshape(6, 8), COLOR.reshape(-1, 3)), COLOR),
    "2-bit gray PNG": (png([b"\x1b\xe4"] * 4, 8, 2, 0), np.array([[0, 85, 170, 255, 255, 170, 85, 0]] * 4)),
    "1-bit PNG": (encoded(Image.fromarray(GRAY > 99), "PNG"), (GRAY > 99) * np.uint8(255)),
    "lossless WebP": (encoded(COLOR, "WEBP", lossless=True), COLOR),
    "opaque WebP": (encoded(opaque(COLOR), "WEBP", lossless=True), COLOR),
    "RGB TIFF": (encoded(COLOR, "TIFF"), COLOR),
    "unsigned 16-bit TIFF": (tiff(GRAY.astype(np.uint16) * 257, 1), GRAY),
    "8-bit TIFF with 0 as white": (tiff(255 - GRAY, 1, photometric=0), GRAY),
    "opaque RGBA TIFF": (tiff(opaque(COLOR), 1, photometric=2, tag338=2), COLOR),
    "palette TIFF": (encoded(Image.fromarray(COLOR).quantize(256), "TIFF"), COLOR),
    "BMP": (encoded(COLOR, "BMP"), COLOR),
    "32-bit BMP without opacity": (encoded(opaque(COLOR, 0), "BMP"), COLOR),
}

REFUSED = {
    "signed 8-bit TIFF": (tiff(GRAY.astype(np.int8), 2), "stores signed integer samples of 8 bits"),
    "signed 16-bit TIFF": (tiff(GRAY.astype(np.int16), 2), "stores signed integer samples of 16 bits"),
    "signed 32-bit TIFF": (tiff(GRAY.astype(np.int32), 2), "stores signed integer samples of 32 bits"),
    "unsigned 32-bit TIFF": (tiff(GRAY.astype(np.uint32), 1), "stores unsigned samples of 32 bits"),
    "half-precision TIFF": (tiff(GRAY.astype(np.float16), 3), "stores floating-point samples of 16 bits"),
    "float TIFF": (tiff(GRAY.astype(np.float32) / 255, 3), "stores floating-point samples of 32 bits"),
    "double TIFF": (tiff(GRAY.astype(np.float64), 3), "stores floating-point samples of 64 bits"),
    "float RGB TIFF": (tiff(COLOR.astype(np.float32), 3, photometric=2), "stores floating-point samples of 32 bits"),
    "16-bit TIFF with 0 as white": (tiff(GRAY.astype(np.uint16), 1, photometric=0), "16 bits with 0 as white"),
    "CMYK TIFF": (encoded(Image.fromarray(COLOR).convert("CMYK"), "TIFF"), "stores CMYK colors"),
    "Lab TIFF": (encoded(Image.fromarray(COLOR).convert("LAB"), "TIFF"), "stores CIE Lab colors"),
    "five channels": (tiff(np.dstack([COLOR, COLOR[..., :2]]), 1), "stores 5 channels"),
    "gray TIFF with opacity": (tiff(np.dstack([GRAY, GRAY]), 1, tag338=2), "stores 2 channels"),
    "TIFF of three pages": (tiff(GRAY, 1, pages=3), "contains 3 pages"),
    "turned TIFF": (tiff(GRAY, 1, tag274=6), "has an orientation tag"),
    "cut TIFF": (tiff(GRAY, 1)[:-40], "is cut off"),
    "CMYK JPEG": (encoded(Image.fromarray(COLOR).convert("CMYK"), "JPEG"), "stores CMYK colors"),
    "cut JPEG": (encoded(COLOR, "JPEG")[:-9], "is cut off"),
    "cut PNG": (encoded(COLOR, "PNG")[:-30], "is cut off"),
    "transparent PNG": (encoded(opaque(COLOR, 99), "PNG"), "is partly transparent"),
    "gray PNG with opacity": (encoded(Image.fromarray(np.dstack([GRAY, GRAY]), "LA"), "PNG"), "is partly transparent"),
    "transparent palette": (
        palette_png(np.zeros((4, 4)), [(9, 9, 9)], chunk(b"tRNS", b"\x00")),
        "is partly transparent",
    ),
    "transparent WebP": (encoded(opaque(COLOR, 99), "WEBP", lossless=True), "is partly transparent"),
    "transparent TIFF": (tiff(opaque(COLOR, 99), 1, photometric=2, tag338=2), "is partly transparent"),
    "12 bits in 16": (
        cv2.imencode(".png", GRAY.astype(np.uint16) * 16)[1].tobytes(),
        f"at most {int(GRAY.max()) * 16} of 65535",
    ),
    "GIF": (encoded(COLOR, "GIF"), "is a GIF file"),
    "animated GIF": (encoded(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]), "is a GIF file"),
    "animated PNG": (encoded(FRAMES[0], "PNG", save_all=True, append_images=FRAMES[1:]), "animation of 3 frames"),
    "animated WebP": (encoded(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:]), "animation"),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_images_are_read_right(tmp_path, kind):
    data, expected = RIGHT[kind]
    path = tmp_path / "a.png"
    path.write_bytes(data)
    pixels = read_image(path).pixels
    assert pixels.dtype == np.uint8
    wanted = expected if expected.ndim == 3 else np.repeat(expected[..., None], 3, axis=2)
    np.testing.assert_array_equal(pixels, wanted)


@pytest.mark.parametrize("kind", REFUSED)
def test_images_that_would_be_read_wrongly_are_refused_in_one_line(tmp_path, kind, capfd):
    data, reason = REFUSED[kind]
    make_folder(tmp_path, {"ant": 2})
    path = tmp_path / "images" / "ant" / "001.png"
    path.write_bytes(data)
    refused(lambda: ImageFolder(tmp_path)[1], str(path), reason)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "data", [b"\xff\xd8", b"\xff\xd8\xff\xe1\x00", b"RIFF\x00", b"BM", b"II*\x00", b"\x89PNG\r\n\x1a\n"]
)
def test_a_header_that_is_cut_off_is_one_line(tmp_path, data):
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    refused(lambda: read_image(path), str(path))


@pytest.mark.parametrize("note", [b"Exif\x00\x00", b"Exif\x00\x00MM\x00*\xff\xff\xff\xff", b"Exif\x00\x00II*\x00\x08"])
def test_a_broken_note_of_a_camera_does_not_matter(tmp_path, note):
    jpeg = encoded(COLOR, "JPEG", quality=100)
    block = b"\xff\xe1" + struct.pack(">H", len(note) + 2) + note
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg[:2] + block + b"\xff" + jpeg[2:])
    assert read_image(path).orientation == 1


def turned(pixels, orientation, kind):
    exif = Image.Exif()
    exif[274] = orientation
    return encoded(pixels, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_turned_picture_comes_upright_where_asked(tmp_path, kind, orientation):
    path = tmp_path / "a"
    path.write_bytes(turned(COLOR, orientation, kind))
    picture = read_image(path)
    assert picture.orientation == orientation
    with Image.open(path) as image:
        stored, expected = np.asarray(image), np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(picture.pixels, stored)
    np.testing.assert_array_equal(picture.upright(), expected)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_the_size_of_a_mask_says_whether_it_was_drawn_on_the_turned_picture(tmp_path, orientation):
    (tmp_path / "images" / "ant").mkdir(parents=True)
    path = tmp_path / "images" / "ant" / "0.png"
    path.write_bytes(turned(COLOR, orientation, "PNG"))
    upright = StoredImage(COLOR, orientation).upright()
    # Without a mask, as a viewer shows it.
    sample = ImageFolder(tmp_path, require_masks=False)[0]
    np.testing.assert_array_equal(sample.image.numpy(), upright.transpose(2, 0, 1))
    for height, width in ((6, 8), (8, 6)):
        write(tmp_path / "masks" / "ant" / "0.png", marked(height, width, slice(1, 3), slice(1, 3)))
        images = ImageFolder(tmp_path)
        if orientation >= 5:
            expected = COLOR if height == 6 else upright
            np.testing.assert_array_equal(images[0].image.numpy(), expected.transpose(2, 0, 1))
        elif height == 6:
            refused(
                lambda images=images: images[0],
                str(path),
                f"EXIF orientation ({orientation})",
                "without the EXIF orientation",
            )


def test_a_square_turned_picture_with_a_mask_is_refused(tmp_path):
    make_folder(tmp_path, {"ant": 1})
    path = tmp_path / "images" / "ant" / "000.png"
    path.write_bytes(turned(photograph(8, 8), 6, "PNG"))
    write(tmp_path / "masks" / "ant" / "000.png", marked(8, 8, slice(1, 2), slice(1, 2)))
    refused(lambda: ImageFolder(tmp_path)[0], str(path), "its mask fits with and without the rotation")


LABELS = np.array([[0, 0, 1, 1], [2, 2, 0, 0]])

MASKS = {
    "palette label map": (palette_png(LABELS, [(0, 0, 0), (128, 0, 0), (0, 128, 0)]), LABELS > 0),
    "1-bit": (png([b"\x30", b"\xc0"], 4, 1, 0), LABELS > 0),
    "4-bit": (png([b"\x00\x11", b"\x22\x00"], 4, 4, 0), LABELS > 0),
    "16-bit": (cv2.imencode(".png", LABELS.astype(np.uint16))[1].tobytes(), LABELS > 0),
    "opaque RGBA": (encoded(opaque(np.repeat(LABELS[..., None], 3, axis=2).astype(np.uint8)), "PNG"), LABELS > 0),
}

BAD_MASKS = {
    "number 0 is not black": (palette_png(LABELS, [(255, 255, 255), (0, 0, 0), (9, 0, 0)]), "has a palette in which"),
    "two numbers are black": (palette_png(LABELS, [(0, 0, 0), (0, 0, 0), (9, 0, 0)]), "has a palette in which"),
    "drawn as opacity": (encoded(opaque(np.zeros((2, 4, 3), np.uint8), 0), "PNG"), "is partly transparent"),
    "JPEG": (encoded(np.zeros((2, 4), np.uint8), "JPEG"), "is a JPEG file, whose compression"),
    "float": (tiff(LABELS.astype(np.float32), 3), "stores floating-point samples"),
    "signed": (tiff(LABELS.astype(np.int16), 2), "stores signed integer samples"),
    "32-bit": (tiff(LABELS.astype(np.int32), 2), "stores signed integer samples"),
}


@pytest.mark.parametrize("kind", [*MASKS, *BAD_MASKS])
def test_masks_are_read_right_or_refused(tmp_path, kind):
    write(tmp_path / "images" / "ant" / "0.png", photograph(2, 4))
    path = tmp_path / "masks" / "ant" / "0.png"
    path.parent.mkdir(parents=True)
    data, expected = {**MASKS, **BAD_MASKS}[kind]
    path.write_bytes(data)
    images = ImageFolder(tmp_path)
    if kind in MASKS:
        np.testing.assert_array_equal(images[0].mask.numpy(), expected)
    else:
        refused(lambda: images[0], str(path), expected)


def test_numbers_of_few_bits_stay_numbers(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(MASKS["4-bit"][0])
    np.testing.assert_array_equal(read_mask(path).pixels, LABELS)
    path.write_bytes(MASKS["palette label map"][0])
    np.testing.assert_array_equal(read_mask(path).numbers, LABELS)


def test_gray_is_refused_like_every_image(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(REFUSED["float TIFF"][0])
    refused(lambda: read_gray(path), str(path), "floating-point")
