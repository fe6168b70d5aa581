"""Image files of every mode: scaled to 8 bits, upright, or refused by name."""

import os

import numpy as np
import pytest
from PIL import Image
from sklearn import datasets

from popstream.model.data import pictures
from popstream.model.data.imagesets import DamageError, read_image
from popstream.model.data.pictures import PictureError, open_picture

RAMP = np.arange(64).reshape(8, 8)


def pixels(path, mode="L"):
    return np.asarray(open_picture(path, mode))


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.pgm"])
def test_16_bits_are_scaled(tmp_path, name):
    Image.fromarray((RAMP * 1028).astype(np.uint16)).save(tmp_path / name)
    np.testing.assert_array_equal(pixels(tmp_path / name), RAMP * 4)
    np.testing.assert_array_equal(pixels(tmp_path / name, "RGB"), np.repeat((RAMP * 4)[:, :, None], 3, 2))


def test_every_16_bit_value_is_rounded_to_the_nearest(tmp_path):
    values = np.arange(65536).reshape(256, 256)
    Image.fromarray(values.astype(np.uint16)).save(tmp_path / "x.png")
    np.testing.assert_array_equal(pixels(tmp_path / "x.png"), np.floor(values / 257 + 0.5))


def test_floats_of_0_to_1_are_scaled_and_others_refused(tmp_path):
    path = tmp_path / "x.tif"
    Image.fromarray((RAMP / 63).astype(np.float32)).save(path)
    np.testing.assert_array_equal(pixels(path), np.floor(255 * (RAMP / 63).astype(np.float32).astype(float) + 0.5))
    for low, high in ((0, 255), (-1, 1), (0, np.nan), (0, np.inf)):
        Image.fromarray(np.array([[low, high]], np.float32)).save(path)
        with pytest.raises(PictureError, match=r"x\.tif has floats of .*; take 0 to 1, or save it with 8"):
            open_picture(path, "L")


def test_whole_numbers_without_a_range_are_refused(tmp_path):
    Image.fromarray((RAMP * 100_000).astype(np.int32)).save(tmp_path / "x.tif")
    with pytest.raises(PictureError, match=r"x\.tif has values of 0 to 6300000 in mode I, of unknown range"):
        open_picture(tmp_path / "x.tif", "RGB")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
def test_8_bits_are_as_pillow_has_them(tmp_path, mode):
    image = Image.fromarray((RAMP * 4).astype(np.uint8)).convert(mode)
    image.save(tmp_path / "x.png")
    np.testing.assert_array_equal(pixels(tmp_path / "x.png"), np.asarray(image.convert("L")))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_upright(tmp_path, orientation):
    """The value of EXIF's tag says from which corner the rows and columns as stored are to be read."""
    upright = np.zeros((6, 4), np.uint8)
    upright[0, 0], upright[0, -1], upright[-1, 0] = 200, 120, 60
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.T, 6: upright.T[::-1], 7: upright.T[::-1, ::-1], 8: upright.T[:, ::-1],
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(pixels(tmp_path / "x.png"), upright)


def test_digits_of_16_bits_are_those_of_8(tmp_path):
    for index in range(5):
        grey = np.floor(datasets.load_digits().images[index] * (255 / 16) + 0.5)
        Image.fromarray((grey * 257).astype(np.uint16)).save(tmp_path / "x.png")
        np.testing.assert_array_equal(pixels(tmp_path / "x.png"), grey)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_lies_under_transparent_places_is_not_taken(tmp_path, mode):
    """White strokes on a transparent ground have any colour there, often white too."""
    image = Image.new("LA", (4, 4), (255, 255))
    image.save(tmp_path / "x.png")
    assert pixels(tmp_path / "x.png").min() == 255  # transparent nowhere
    image.putpixel((1, 2), (255, 0))
    image = image.convert("RGBA").convert(mode) if mode != "P" else image.convert("RGBA").quantize()
    image.save(tmp_path / "x.png")
    with pytest.raises(PictureError, match=r"x\.png is transparent in places; put it on a background and save that"):
        open_picture(tmp_path / "x.png", "L")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(PictureError, match=r"x\.png: is no regular file; copy what it gives into one"):
        open_picture(tmp_path / "x.png", "L")


def test_the_first_picture_of_several_and_a_mark_of_no_meaning(tmp_path):
    frames = [Image.new("L", (4, 4), grey) for grey in (10, 200)]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert set(pixels(tmp_path / "x.gif").ravel()) == {10}
    exif = Image.Exif()
    exif[0x112] = 99  # no orientation
    Image.fromarray((RAMP * 4).astype(np.uint8)).save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(pixels(tmp_path / "x.png"), RAMP * 4)


def test_a_folder_of_16_bit_images(tmp_path):
    ramp = np.linspace(0, 65535, 32 * 32).reshape(32, 32).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "x.png")
    found = read_image(tmp_path / "x.png", 32)
    assert abs(found.mean() - 127.5) < 4  # the centre is cut out, to a whole pixel
    Image.fromarray((ramp / 257 + 0.5).astype(np.uint8)).save(tmp_path / "x.png")
    np.testing.assert_array_equal(found, read_image(tmp_path / "x.png", 32))


def test_a_folder_names_what_it_cannot_take(tmp_path):
    Image.fromarray(np.array([[0, 7]], np.float32)).save(tmp_path / "x.tif")
    with pytest.raises(DamageError, match=r"x\.tif has floats of 0 to 7; .*; fetch it again or remove it"):
        read_image(tmp_path / "x.tif", 32)
    with pytest.raises(DamageError, match=r"none\.png cannot be read \(No such file or directory\)"):
        read_image(tmp_path / "none.png", 32)


def test_a_picture_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    Image.new("L", (100, 100)).save(tmp_path / "x.png")
    for most in (9_000, 4_000):  # Pillow refuses twice as many as it is told
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
        monkeypatch.setattr(pictures, "MOST_PIXELS", most)
        with pytest.raises(
            PictureError, match=r"x\.png is too large[:;].* at most .* pixels are read|at most [0-9,]+ are read"
        ):
            open_picture(tmp_path / "x.png", "L")
    monkeypatch.setattr(pictures, "MOST_BYTES", 10)
    with pytest.raises(PictureError, match=r"x\.png is too large: [0-9]+ bytes; at most 10 are read"):
        open_picture(tmp_path / "x.png", "L")


@pytest.mark.parametrize("name", ["x.jp2", "x.eps", "x.ico", "x.tga", "x.pcx"])
def test_formats_that_nobody_needs_are_not_read(tmp_path, name):
    """Of Pillow's formats one starts a program (EPS), others take more memory than a picture needs."""
    Image.new("L", (8, 8)).save(tmp_path / name)
    with pytest.raises(PictureError, match=r"is no image that is read here \(PNG, JPEG, TIFF, BMP, GIF, PPM, WEBP\)"):
        open_picture(tmp_path / name, "L")


def test_of_a_chunk_that_claims_too_many_bytes_those_are_read_that_there_are(tmp_path):
    Image.new("L", (8, 8), 5).save(tmp_path / "x.png")
    data = (tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").write_bytes(data[:33] + (5000).to_bytes(4, "big") + data[37:])
    assert (pixels(tmp_path / "x.png") == 5).all()


def test_bands_of_a_large_picture_are_scaled_as_the_whole(tmp_path, monkeypatch):
    values = np.random.default_rng(0).random((37, 11), np.float32)
    Image.fromarray(values).save(tmp_path / "x.tif")
    Image.fromarray((values * 65535).astype(np.uint16)).save(tmp_path / "y.png")
    whole = [pixels(tmp_path / name) for name in ("x.tif", "y.png")]
    monkeypatch.setattr(pictures, "BAND", 33)
    for name, wanted in zip(("x.tif", "y.png"), whole, strict=True):
        np.testing.assert_array_equal(pixels(tmp_path / name), wanted)


def test_an_image_of_one_column_is_too_narrow_to_be_cut(tmp_path):
    Image.new("L", (1, 60_000)).save(tmp_path / "x.png")
    with pytest.raises(DamageError, match=r"x\.png is too narrow: of 1 x 60000 pixels; remove it"):
        read_image(tmp_path / "x.png", 224)
