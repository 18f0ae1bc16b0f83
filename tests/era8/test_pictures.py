"""Images of one's own: read rightly, or refused in one sentence that names the file."""

import io
import random
import struct
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image, PngImagePlugin

from era8.pictures import FORMATS, ORIENTATION, read_picture

Image.init()  # for Image.SAVE
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8))
AVIF = pytest.mark.skipif("AVIF" not in Image.SAVE, reason="Pillow reads AVIF from 11.3 on")


def make_image(path, size=(200, 120), mode="RGB", color="red", **how):
    Image.new(mode, size, color).save(path, **how)
    return path


def make_png(path, header, pixels, **chunks):
    """Write a PNG that Pillow reads and cannot write: its header, its bytes and other chunks."""
    chunks = {"IHDR": struct.pack(">IIBBBBB", *header, 0, 0, 0), **chunks}
    chunks |= {"IDAT": zlib.compress(pixels), "IEND": b""}
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, data in chunks.items():
            body = name.encode() + data
            file.write(struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body)))
    return path


def refuse(path):
    """Return why an image is refused, in the one sentence that names it."""
    with pytest.raises(ValueError) as caught:
        read_picture(path)
    first, reason = str(caught.value).split(" cannot be read as an image: ")
    assert first == str(path) and "\n" not in reason
    assert reason.endswith("; save a small copy of it as a PNG or a JPEG")
    return reason


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("RGB", "png"), ("RGB", "jpg"), ("RGBA", "png"), ("L", "png"), ("P", "gif"), ("1", "png"),
     ("CMYK", "jpg"), ("LA", "png"), ("RGB", "webp"), ("RGB", "bmp"), ("CMYK", "tif"),
     ("LAB", "tif"), ("LA", "tif"),
     pytest.param("RGB", "avif", marks=AVIF)],
)  # fmt: skip
def test_any_image_is_read(tmp_path, mode, suffix):
    path = tmp_path / f"a.{suffix}"
    if mode in ("RGB", "RGBA", "CMYK", "LAB"):
        Image.new("RGB", (200, 120), "red").convert(mode).save(path)
        image = read_picture(path)
        assert image[0].float().mean() > 200 > 80 > image[1:].float().mean()
    else:
        image = read_picture(make_image(path, mode=mode, color=(9, 9) if mode == "LA" else 1))
    assert image.shape == (3, 32, 32) and image.dtype == torch.uint8


@pytest.mark.parametrize("kind", ["<u2", ">u2", "i4", "f4"])
def test_deep_grey_is_refused(tmp_path, kind):
    """Few cameras fill the 16 bits: what is white is not told."""
    mode = "I;16B" if kind == ">u2" else None  # as big-endian cameras write it
    values = (np.ones((64, 64)) * 4095).astype(kind)
    image = Image.frombytes(mode, (64, 64), values.tobytes()) if mode else Image.fromarray(values)
    image.save(tmp_path / "deep.tif")
    assert "its channels have more than 8 bits" in refuse(tmp_path / "deep.tif")


@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_deep_colours_are_refused(tmp_path, kind, channels):
    row = b"\0" + b"\x0f\xff" * channels * 8  # 12 bits
    path = make_png(tmp_path / "a.png", (8, 8, 16, kind), row * 8)
    assert "its channels have more than 8 bits" in refuse(path)


@pytest.mark.parametrize(
    ("bits", "kind", "key", "row"),
    [(8, 0, "0007", "07" * 8), (8, 2, "000100020003", "010203" * 8), (4, 0, "0007", "77" * 4),
     (2, 0, "0001", "5555"), (1, 0, "0000", "00")],
)  # fmt: skip
def test_what_is_transparent_throughout_is_white(tmp_path, bits, kind, key, row):
    pixels = (b"\0" + bytes.fromhex(row)) * 8
    path = make_png(tmp_path / "a.png", (8, 8, bits, kind), pixels, tRNS=bytes.fromhex(key))
    assert (read_picture(path) == 255).all()


def test_what_is_transparent_is_white(tmp_path):
    image = read_picture(make_image(tmp_path / "a.png", mode="RGBA", color=(0, 0, 0, 0)))
    assert (image == 255).all()


def test_the_middle_is_taken(tmp_path):
    image = Image.new("RGB", (300, 100), "blue")
    image.paste("red", (100, 0, 200, 100))
    for mode in ("RGB", "P"):
        image.convert(mode).save(tmp_path / "wide.png")
        assert (read_picture(tmp_path / "wide.png")[0] > 200).float().mean() > 0.9


def make_exif(*more):
    """Return EXIF data that turns by 90 degrees, the top to the right, beside other tags."""
    tags = [(ORIENTATION, 3, 1, struct.pack(">HH", 6, 0)), *more]
    packed = b"".join(struct.pack(">HHI", *tag[:3]) + tag[3] for tag in tags)
    return b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", len(tags)) + packed + bytes(12)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize(
    "odd",
    [(), (0x0128, 2, 4, b"abc\0"), (0x011A, 2, 4, b"abc\0"), (0x0100, 8, 1, b"\xff\xff\0\0"),
     (0x8769, 2, 4, b"abc\0"), (0x8769, 4, 1, b"\xff" * 4), (0x011A, 5, 1, b"\0\0\0\x22"),
     (0x010F, 2, 2**32 - 1, b"\xff" * 4), (0x9999, 77, 1, b"\xff" * 4)],
)  # fmt: skip
def test_exif_turns_whatever_is_beside_it(tmp_path, suffix, odd):
    image = Image.new("RGB", (64, 64), "black")
    image.paste("white", (0, 0, 64, 32))
    path = tmp_path / f"a.{suffix}"
    image.save(path, quality=95, exif=make_exif(odd) if odd else make_exif())
    image = read_picture(path).float()
    assert image[:, :, 20:].mean() > 200 > 50 > image[:, :, :12].mean()


def test_postscript_is_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("it was run"))
    text = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n{} loop\n"
    for name in ("photo.jpg", "photo.eps"):
        (tmp_path / name).write_bytes(text)
        assert refuse(tmp_path / name).startswith("it is damaged, or none of JPEG, PNG, WEBP")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L"])
def test_large_images_need_no_warning(tmp_path, monkeypatch, mode):
    size = (900, 200)
    make_image(tmp_path / "a.png", size, mode, 200 if mode in ("P", "L") else "red")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)
    with warnings.catch_warnings(action="error"):
        assert read_picture(tmp_path / "a.png").shape == (3, 32, 32)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    assert "it has more than 20,000 pixels" in refuse(tmp_path / "a.png")


def test_a_large_jpeg_is_decoded_at_an_eighth_of_its_size(tmp_path, monkeypatch):
    sizes, resize = [], Image.Image.resize
    monkeypatch.setattr(
        Image.Image,
        "resize",
        lambda self, *a, **k: sizes.append(self.size) or resize(self, *a, **k),
    )
    read_picture(make_image(tmp_path / "a.jpg", (4_000, 2_400)))
    assert sizes == [(500, 300)]


def test_a_tiny_and_a_long_image(tmp_path):
    for size in ((1, 1), (1, 5_000), (3_001, 2)):
        assert read_picture(make_image(tmp_path / "a.png", size)).shape == (3, 32, 32)


def test_what_is_no_image_is_refused(tmp_path):
    for path in ("no.png", str(tmp_path), "a" * 300, ""):
        with pytest.raises(FileNotFoundError, match=f"there is no file '{path}'; name a PNG or"):
            read_picture(path)
    (tmp_path / "text.png").write_text("text")
    assert "none of JPEG" in refuse(tmp_path / "text.png")
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(whole, "png")
    (tmp_path / "cut.png").write_bytes(whole.getvalue()[:1000])
    assert "truncated" in refuse(tmp_path / "cut.png")


def test_too_much_text(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("a", "b" * 2_000_000, zip=True)
    make_image(tmp_path / "a.png", pnginfo=info)
    assert "more than 1 MB of text" in refuse(tmp_path / "a.png")


def test_too_little_memory(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(Image.Image, "resize", fail)
    assert "it needs more memory than there is" in refuse(make_image(tmp_path / "a.png"))


def mutate(data, draw):
    """Return an image with some of its bytes changed, doubled or lost, most of them early ones."""
    data = bytearray(data)
    for _ in range(draw.choice((1, 2, 8))):
        at = draw.randrange(min(len(data), draw.choice((64, 400, 10**6))))
        some = draw.choice((bytes(4), b"\xff" * 4, draw.randbytes(1), draw.randbytes(4), b""))
        data[at : at + draw.choice((0, len(some), 4))] = some
    return bytes(data)


def test_damaged_images_get_an_answer_or_one_sentence(tmp_path):
    draw, path = random.Random(0), tmp_path / "photo.jpg"
    exif, answers = make_exif((0x010F, 2, 4, b"abc\0")), 0
    for name in (name for name in FORMATS if name in Image.SAVE):
        for mode in ("RGB", "P") if name == "GIF" else ("RGB", "L"):
            whole = io.BytesIO()
            more = {"exif": exif} if name in ("JPEG", "PNG", "WEBP", "AVIF") else {}
            NOISE.convert(mode).save(whole, name, **more)
            for _ in range(40):
                path.write_bytes(mutate(whole.getvalue(), draw))
                try:
                    assert read_picture(path).shape == (3, 32, 32)
                    answers += 1
                except ValueError:
                    refuse(path)
    assert answers > 20
