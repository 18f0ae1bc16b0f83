"""The reference networks, and pictures of one's own."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from era8.__main__ import main
from era8.data import CLASSES
from era8.models import MODELS as MODELS_BY_NAME
from era8.models import make_model
from era8.pretrained import (
    MODELS,
    NORMS,
    WEIGHTS,
    classify,
    compare,
    load_pretrained,
    load_reference,
    load_trained,
    read_picture,
)
from era8.records import Record, calculate_sha256

PAIRS = [(model, norm) for model in MODELS for norm in NORMS]


def make_picture(path, size=(200, 120), mode="RGB", color="red", **how):
    Image.new(mode, size, color).save(path, **how)
    return path


@pytest.mark.parametrize(("model", "norm"), PAIRS)
def test_networks_are_trained_and_small(model, norm):
    network = load_pretrained(model, norm)
    assert not network.training and network.norm == norm and network.skip
    assert type(network) is type(make_model(model, norm))
    path = WEIGHTS / f"{model}-{norm}.pt"
    assert path.stat().st_size < 300_000
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["epochs"] == 19 and record["data"] == "cifar10" and "-dirty" not in str(record)
    assert set(record) <= set(Record.__annotations__)
    assert record["files"]["weights.pt"] == calculate_sha256(path.read_bytes())
    found = load_reference(model, norm)
    assert found["seeds"] >= 5 and found["mean"] > {"session8": 0.8, "dilated": 0.88}[model]
    assert abs(record["test_accuracy"] - found["mean"]) < 0.01  # it is one of those runs


def test_torch_hub_loads_them():
    root = Path(WEIGHTS).parents[1]
    for model in MODELS:
        network = torch.hub.load(str(root), model, source="local", norm="gn")
        assert type(network) is MODELS_BY_NAME[model] and network.norm == "gn"


def test_networks_that_there_are_not():
    with pytest.raises(ValueError, match="model must be one of session8, dilated; got 'deep'"):
        load_pretrained("deep")
    with pytest.raises(ValueError, match="norm must be one of bn, gn, ln; got 'none'"):
        load_pretrained(norm="none")
    assert load_reference("deep", "bn") is None


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("RGB", "png"), ("RGB", "jpg"), ("RGBA", "png"), ("L", "png"), ("P", "gif"), ("1", "png"),
     ("CMYK", "jpg"), ("I;16", "png"), ("LA", "png"), ("RGB", "webp")],
)  # fmt: skip
def test_any_picture_is_read(tmp_path, mode, suffix):
    color = {"RGB": "red", "RGBA": "red", "P": 1, "CMYK": (0, 255, 255, 0)}.get(mode, 1)
    image = read_picture(
        make_picture(tmp_path / f"a.{suffix}", mode=mode, color=(9, 9) if mode == "LA" else color)
    )
    assert image.shape == (3, 32, 32) and image.dtype == torch.uint8
    if mode in ("RGB", "RGBA", "CMYK"):
        assert image[0].float().mean() > 200 > 80 > image[1:].float().mean()


def test_sixteen_bits_are_not_clipped(tmp_path):
    image = read_picture(make_picture(tmp_path / "a.png", mode="I;16", color=128 * 256))
    assert (image.int() - 128).abs().max() <= 1


def test_networks_are_the_same_whatever_the_defaults_are():
    try:
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        network = load_pretrained()
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    assert {(p.dtype, p.device.type) for p in network.parameters()} == {(torch.float32, "cpu")}


def test_what_is_transparent_is_white(tmp_path):
    image = read_picture(make_picture(tmp_path / "a.png", mode="RGBA", color=(0, 0, 0, 0)))
    assert (image == 255).all()


def test_the_middle_is_taken_and_exif_turns(tmp_path):
    picture = Image.new("RGB", (300, 100), "blue")
    picture.paste("red", (100, 0, 200, 100))
    picture.save(tmp_path / "wide.png")
    assert (read_picture(tmp_path / "wide.png")[0] > 200).float().mean() > 0.9
    turned = Image.new("RGB", (64, 64), "black")
    turned.paste("white", (0, 0, 64, 32))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees: the top goes to the right
    turned.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    image = read_picture(tmp_path / "turned.jpg").float()
    assert image[:, :, 20:].mean() > 200 > 50 > image[:, :, :12].mean()


def test_a_huge_and_a_tiny_picture(tmp_path):
    assert read_picture(make_picture(tmp_path / "huge.png", (9_000, 2_000))).shape == (3, 32, 32)
    assert read_picture(make_picture(tmp_path / "tiny.png", (1, 1))).shape == (3, 32, 32)


def test_what_is_no_picture_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="'no.png' does not exist; name a PNG or a JPEG"):
        read_picture("no.png")
    (tmp_path / "text.png").write_text("text")
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(whole, "png")
    (tmp_path / "cut.png").write_bytes(whole.getvalue()[:1000])
    for name in ("text.png", "cut.png"):
        with pytest.raises(ValueError, match=f"{name} must be a picture that can be read"):
            read_picture(tmp_path / name)


def test_guesses_are_the_surest_classes():
    table = classify(torch.randint(256, (3, 32, 32), dtype=torch.uint8), best=10)
    assert list(table.columns) == ["norm", "guess", "probability"]
    for norm in NORMS:
        guesses = table[table.norm == norm]
        assert set(guesses.guess) == set(CLASSES)
        assert guesses.probability.is_monotonic_decreasing
        assert guesses.probability.sum() == pytest.approx(1, abs=1e-5)


def test_the_command(tmp_path):
    path = make_picture(tmp_path / "a.png")
    result = CliRunner().invoke(main, ["classify", str(path)])
    assert result.exit_code == 0 and "BN" in result.output and "%" in result.output
    result = CliRunner().invoke(main, ["classify", str(tmp_path / "b.png")])
    assert result.exit_code == 1 and "does not exist" in result.output
    assert "Traceback" not in result.output


def test_the_command_asks_the_network_that_is_named():
    truck = str(WEIGHTS.parents[1] / "results" / "truck.png")
    ask = [["classify", truck, *more] for more in ([], *(["--model", m] for m in MODELS))]
    first, session8, dilated = (CliRunner().invoke(main, words).output for words in ask)
    assert first == session8 != dilated
    assert session8.count("  truck 100 %") == dilated.count("  truck 100 %") == len(NORMS)
    result = CliRunner().invoke(main, ["classify", truck, "--model", "deep"])
    assert result.exit_code == 1
    assert result.output == "Error: model must be one of session8, dilated; got 'deep'\n"


def test_runs_beside_the_study():
    record = load_trained("session8", "gn")[1]
    found = load_reference("session8", "gn")
    lines = compare([record, replace(record, skip=False)], "session8").data.splitlines()
    assert f"{100 * record.test_accuracy:.2f} % after 19 epochs" in lines[0]
    assert f"{found['seeds']} seeds of the study {100 * found['mean']:.2f} ±" in lines[0]
    assert lines[0].endswith("% after 19 (batch_size 128, crop 2)")  # its own may be another one
    assert "differs by +0.00 points" in lines[2] and "one time in twenty" in lines[2]
    (alone,) = compare([record], "deep").data.splitlines()
    assert "study" not in alone
