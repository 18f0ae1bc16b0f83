"""The reference networks, and what they call an image."""

import json
import sys
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path

import pytest
import torch
from PIL import Image
from support import invoke

from era8 import pretrained
from era8.data import CLASSES
from era8.disk import calculate_sha256
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
)
from era8.records import Record
from era8.run import Run, from_record

TRUCK = WEIGHTS.parents[1] / "results" / "truck.png"
PAIRS = [(model, norm) for model in MODELS for norm in NORMS]


@pytest.mark.parametrize(("model", "norm"), PAIRS)
def test_networks_are_trained_and_small(model, norm):
    network = load_pretrained(model, norm)
    assert not network.training and network.norm == norm and network.skip
    assert type(network) is type(make_model(model, norm))
    path = WEIGHTS / f"{model}-{norm}.pt"
    assert path.stat().st_size < 300_000
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["epochs"] == 19 and record["data"] == "cifar10" and "-dirty" not in str(record)
    assert set(from_record(record)) <= {field.name for field in fields(Record)}
    assert from_record(record)["sha256"]["weights.pt"] == calculate_sha256(path.read_bytes())
    found = load_reference(load_trained(model, norm)[1])
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
    assert load_reference(Run(model="deep", norm="bn")) is None


def test_networks_are_the_same_whatever_the_defaults_are():
    try:
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        network = load_pretrained()
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    assert {(p.dtype, p.device.type) for p in network.parameters()} == {(torch.float32, "cpu")}


def test_guesses_are_the_surest_classes():
    table = classify(torch.randint(256, (3, 32, 32), dtype=torch.uint8), best=10)
    assert list(table.columns) == ["norm", "guess", "probability"]
    for norm in NORMS:
        guesses = table[table.norm == norm]
        assert set(guesses.guess) == set(CLASSES)
        assert guesses.probability.is_monotonic_decreasing
        assert guesses.probability.sum() == pytest.approx(1, abs=1e-5)


def test_the_command(tmp_path):
    Image.new("RGB", (200, 120), "red").save(tmp_path / "a.png")
    result = invoke("classify", tmp_path / "a.png")
    assert result.exit_code == 0 and "BN" in result.output and "%" in result.output
    result = invoke("classify", tmp_path / "b.png")
    assert result.exit_code == 1
    assert result.output == f"Error: there is no file '{tmp_path}/b.png'; name a PNG or a JPEG\n"


@pytest.mark.parametrize(
    ("module", "advice"),
    [
        ("PIL", "this command needs pillow; install it: pip install pillow"),
        ("pandas", "this command needs pandas; install it: pip install pandas"),
        ("stranger", "install the package that it comes with, or mend its name"),
    ],
)
def test_a_missing_package_is_asked_for_by_its_name_on_the_index(monkeypatch, module, advice):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(pretrained, "classify", lambda *_: import_module(module))
    result = invoke("classify", TRUCK)
    assert result.exit_code == 1 and result.output.endswith(f"{advice}\n")
    assert ("pip install" in result.output) == (module != "stranger")


def test_the_command_asks_the_network_that_is_named():
    asked = [], *(["--model", name] for name in MODELS)
    first, session8, dilated = (invoke("classify", TRUCK, *more).output for more in asked)
    assert first == session8 != dilated
    assert session8.count("  truck 100 %") == dilated.count("  truck 100 %") == len(NORMS)
    result = invoke("classify", TRUCK, "--model", "deep")
    assert result.exit_code == 1
    assert result.output == "Error: model must be one of session8, dilated; got 'deep'\n"


def test_runs_beside_the_study():
    record = load_trained("session8", "gn")[1]
    found = load_reference(record)
    lines = compare([record, replace(record, skip=False, seed=7)]).data.splitlines()
    assert f"{100 * record.test_accuracy:.2f} % after 19 epochs" in lines[0]
    assert f"{found['seeds']} seeds of the study {100 * found['mean']:.2f} ±" in lines[0]
    assert "differs by +0.00 points" in lines[2] and "one time in twenty" in lines[2]
    changes = {"groups": 16}, {"optimizer": "sgd"}, {"epochs": 2}
    alone = compare([replace(record, **change) for change in changes]).data.splitlines()
    assert len(alone) == 3 and all("has no runs with these settings" in line for line in alone)
