"""Image files as 8-bit pictures: upright as their EXIF says, 16 bits and floats brought to 0..255, or refused by name.

Pillow converts by cutting off: of 16 bits what is above 255 becomes 255, of floats from 0 to 1 nothing is left. Here a
value v of 0..65535 becomes floor(255 v / 65535 + 1/2), one of 0.0..1.0 floor(255 v + 1/2).
"""

import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from popstream.model.checked import InputError

__all__ = ["PictureError", "open_picture"]

BYTES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")
TOP = 2**16 - 1
I_IS_16_BITS = ("PNG", "PPM")  # formats whose mode I holds 0..65535


class PictureError(InputError):
    """A file is no picture, or one whose values have no known range; one line that names it."""


def open_picture(path: Path, mode: str) -> Any:
    """The picture in a file as a PIL image of mode "L" or "RGB". PictureError, or the system's OSError."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    damage = (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error, Image.DecompressionBombError)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                upright = ImageOps.exif_transpose(file)
                return eight_bits(upright, file.format, path).convert(mode)
    except PictureError:
        raise
    except UnidentifiedImageError:
        raise PictureError(f"{path} is not an image that Pillow reads") from None
    except Image.DecompressionBombWarning as error:
        raise PictureError(f"{path} is too large ({error})") from None
    except damage as error:
        if getattr(error, "errno", None):  # of the system, not of the picture
            raise
        raise PictureError(f"{path} is damaged ({error})") from None


def eight_bits(image: Any, form: str | None, path: Path) -> Any:
    """The image in a mode of 8 bits a value."""
    from PIL import Image

    if image.mode in BYTES:
        return image
    values = np.asarray(image)
    if image.mode.startswith("I;16") or (image.mode == "I" and form in I_IS_16_BITS):
        return Image.fromarray(((2 * 255 * values.astype(np.int64) + TOP) // (2 * TOP)).astype(np.uint8))
    low, high = (values.min(), values.max()) if values.size else (0, 0)
    if image.mode == "F":
        if not (low >= 0 and high <= 1):  # nor where one is not a number
            raise PictureError(f"{path} has floats of {low:g} to {high:g}; take 0 to 1, or save it with 8 or 16 bits")
        return Image.fromarray(np.floor(255 * values.astype(np.float64) + 0.5).astype(np.uint8))
    raise PictureError(
        f"{path} has values of {low} to {high} in mode {image.mode}, of unknown range; save it with 8 or 16 bits"
    )
