"""Image files as 8-bit pictures: upright as their EXIF says, 16 bits and floats brought to 0..255, or refused by name.

Pillow converts by cutting off: of 16 bits what is above 255 becomes 255, of floats from 0 to 1 nothing is left. Here a
value v of 0..65535 becomes floor(255 v / 65535 + 1/2), one of 0.0..1.0 floor(255 v + 1/2); of 16 bits in three channels
Pillow gives the upper eight. What lies under transparent places nobody means: such a file is refused.
"""

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from popstream.model.checked import InputError, must_be_file

__all__ = ["MOST_PIXELS", "PictureError", "open_picture"]

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "PPM", "WEBP")  # Pillow knows others, one of which starts a program
MOST_BYTES, MOST_PIXELS = 2**28, 2**26
BAND = 2**20  # pixels that are scaled at once

BYTES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")
TOP = 2**16 - 1
I_IS_16_BITS = ("PNG", "PPM")  # formats whose mode I holds 0..65535


class PictureError(InputError):
    """A file is no picture, or one whose values have no known range; one line that names it."""


def open_picture(path: Path, mode: str) -> Any:
    """The picture in a file as a PIL image of mode "L" or "RGB". PictureError, or the system's OSError."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    must_be_file(path, PictureError)
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise PictureError(f"{path} is too large: {size:,} bytes; at most {MOST_BYTES:,} are read")
    content = BytesIO(path.read_bytes())  # of which no more is read than there is, whatever the picture says
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what Pillow can do without
            with Image.open(content, formats=FORMATS) as file:
                if file.width * file.height > MOST_PIXELS:
                    raise PictureError(
                        f"{path} is too large: {file.width} x {file.height} pixels; at most {MOST_PIXELS:,} are read"
                    )
                ImageOps.exif_transpose(file, in_place=True)
                if file.has_transparency_data and any(file.convert("RGBA").getchannel("A").histogram()[:255]):
                    raise PictureError(f"{path} is transparent in places; put it on a background and save that")
                return eight_bits(file, file.format, path).convert(mode)
    except PictureError:
        raise
    except UnidentifiedImageError:
        raise PictureError(f"{path} is no image that is read here ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise PictureError(f"{path} is too large; at most {MOST_PIXELS:,} pixels are read") from None
    except Exception as error:  # Pillow raises a different type for each kind of damage
        raise PictureError(f"{path} is damaged ({error})") from None


def eight_bits(image: Any, form: str | None, path: Path) -> Any:
    """The image in a mode of 8 bits a value."""
    from PIL import Image

    if image.mode in BYTES:
        return image
    floats, integers = image.mode == "F", image.mode.startswith("I;16") or (image.mode == "I" and form in I_IS_16_BITS)
    if not floats and not integers:
        low, high = image.getextrema() if image.mode == "I" else ("?", "?")
        raise PictureError(
            f"{path} has values of {low} to {high} in mode {image.mode}, of unknown range; save it with 8 or 16 bits"
        )
    found = Image.new("L", image.size)
    rows = max(1, BAND // max(1, image.width))
    for top in range(0, image.height, rows):  # wider numbers of the whole would take a multiple of its memory
        values = np.asarray(image.crop((0, top, image.width, min(image.height, top + rows))))
        if floats:
            low, high = values.min(), values.max()
            if not (low >= 0 and high <= 1):  # nor where one is not a number
                raise PictureError(
                    f"{path} has floats of {low:g} to {high:g}; take 0 to 1, or save it with 8 or 16 bits"
                )
            scaled = np.floor(255 * values.astype(np.float64) + 0.5)
        else:
            scaled = (2 * 255 * values.astype(np.int64) + TOP) // (2 * TOP)
        found.paste(Image.fromarray(scaled.astype(np.uint8)), (0, top))
    return found
