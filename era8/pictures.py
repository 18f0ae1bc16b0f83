"""Images of one's own: what a photo is to the networks."""

import os
import re
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

# What cameras, phones and browsers save. Pillow reads more, such as PostScript, which it runs.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP")
WHITES = (1, *(2**bits - 1 for bits in (8, 10, 12, 14, 16)))
ORIENTATION = 0x0112  # EXIF's tag


def read_picture(path: str | os.PathLike) -> Tensor:
    """Return a photo as the networks see it: its middle square as uint8 (3, 32, 32).

    It is turned as its EXIF data says; what is transparent becomes white. Grey of more than 8 bits
    is white at the first of 1 (floats alone) and the largest numbers of 8, 10, 12, 14 and 16 bits
    that no pixel exceeds by more than a tenth, as sharpening may.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is none of ``FORMATS``, is damaged, does not tell what is white, or has
            more than 179 million pixels.
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
    stored = re.search(r";(\d+)", str(file.tile))  # bits, as in "RGB;16B"; gone once it is loaded
    bits = int(stored[1]) if stored else 8
    file.load()
    key = file.info.get("transparency")  # a colour, in the bits of the file
    if bits == 16 and file.mode[:3] == "RGB":
        tops = np.array(file.getextrema())[:, 1]
        if tops[:3].max() < 64 and tops[3:].all():  # and something of it is to be seen
            raise OSError("of the 16 bits of its colours the brightest pixel uses 14 or fewer")
        if isinstance(key, tuple):
            file.info["transparency"] = tuple(value >> 8 for value in key)
    elif bits < 8 and file.mode == "L" and isinstance(key, int):
        file.info["transparency"] = key * 255 // (2**bits - 1)
    deep = file.mode[0] in "IF"
    if key is None and not deep and file.mode not in ("1", "P", "PA"):
        return file
    left, top = ((length - min(file.size)) // 2 for length in file.size)
    middle = file.crop((left, top, file.width - left, file.height - top))
    if deep:  # TIFF's PhotometricInterpretation may say that 0 is white
        return _read_grey(middle, key, getattr(file, "tag_v2", {}).get(262) == 0)
    return middle.convert("RGB" if key is None and file.mode == "P" else "RGBA")


def _read_grey(image: "Image", key: Any, inverted: bool) -> "Image":
    """Return grey of 16 or 32 bits as 8, with an alpha channel if a grey is transparent."""
    from PIL import Image

    values = np.asarray(image)
    low, high = values.min(), values.max()
    fraction = image.mode == "F"
    white = next((w for w in WHITES[not fraction :] if high <= 1.1 * w), 0)
    if not (white and low >= -0.1 * white) or (fraction and 1.1 < high < 64):
        raise OSError(f"its grey values, from {low:g} to {high:g}, do not tell what is white")
    scaled = np.multiply(values, 255 / white, dtype=np.float32, casting="unsafe")
    grey = Image.fromarray(np.rint(scaled).clip(0, 255).astype(np.uint8) ^ (255 * inverted))
    if key is not None:
        grey.putalpha(Image.fromarray((values != key) * np.uint8(255)))
    return grey


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
