"""Images of one's own: what a photo is to the networks."""

import os
import re
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

# What cameras, phones and browsers save. Pillow reads more, such as PostScript, which it runs.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP")
ORIENTATION = 0x0112  # EXIF's tag


def read_picture(path: str | os.PathLike) -> Tensor:
    """Return a photo as the networks see it: its middle square as uint8 (3, 32, 32).

    It is turned as its EXIF data says; what is transparent becomes white.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is none of ``FORMATS``, is damaged, or has channels of more than 8 bits
            or more than 179 million pixels.
    """
    from PIL import Image, ImageOps

    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no file {str(path)!r}; name a PNG or a JPEG")
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]  # AVIF came with Pillow 11.3
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=formats) as file:
            image, orientation = _decode(file), 1  # not to be turned at all
            with suppress(Exception):  # its other tags may be odd
                orientation = file.getexif().get(ORIENTATION, 1)
        side = min(image.size)
        left, top = ((length - side) / 2 for length in image.size)
        middle = (left, top, left + side, top + side)
        image = image.resize((32, 32), Image.Resampling.LANCZOS, middle, reducing_gap=4)
        image = image.convert({"La": "LA", "LAB": "RGB"}.get(image.mode, "RGBA")).convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image.getexif()[ORIENTATION] = orientation  # alone
        pixels = np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except Exception as error:  # a damaged file leads decoders to errors of every kind
        raise ValueError(
            f"{path} cannot be read as an image: {_explain(error)}; "
            "save a small copy of it as a PNG or a JPEG"
        ) from None
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()  # (3, 32, 32)


def _decode(file: "ImageFile") -> "Image":
    """Return the pixels of a file in channels of 8 bits, which can be averaged."""
    file.draft(None, (256, 256))  # a large JPEG is decoded at a half to an eighth of its size
    stored = str(file.tile)  # such as "RGB;16B", or "L;4" for 4 bits; gone once it is loaded
    if file.mode[0] in "IF" or re.search(r"\b(LA|RGBA?|RGBX);16", stored):
        raise OSError("its channels have more than 8 bits")  # often fewer than 16: what is white?
    file.load()
    key = file.info.get("transparency")  # a colour, in the bits of the file
    if (few := re.search(r"\bL;([124])\b", stored)) and isinstance(key, int):
        file.info["transparency"] = key * 255 // (2 ** int(few[1]) - 1)
    if key is None and file.mode not in ("1", "P", "PA"):
        return file
    left, top = ((length - min(file.size)) // 2 for length in file.size)
    middle = file.crop((left, top, file.width - left, file.height - top))
    return middle.convert("RGB" if key is None and file.mode == "P" else "RGBA")


def _explain(error: Exception) -> str:
    """Return what is wrong with a file, in words of a user."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return f"it is damaged, or none of {', '.join(FORMATS)}"
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
    if isinstance(error, OSError):
        return " ".join(str(error).split())
    return "it is damaged, too large, or holds more than 1 MB of text"
