"""What only a GPU can prove; what it showed is written to runs/gpu/gpu.json, to be sent."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from era8 import Recipe, Session8Net, fit, load_data, load_runs
from era8.data import normalise
from era8.data.download import FetchError, find_or_fetch
from era8.device import PRECISIONS, best_precision, choose_device, device_name, versions
from era8.recipe import OPTIMIZERS

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
OUT = Path("runs", "gpu").resolve()
SETTINGS = [(p, o) for p in PRECISIONS for o in OPTIMIZERS]
COLUMNS = "norm skip precision device epochs data train_seconds test_accuracy".split()


@pytest.fixture(scope="module", autouse=True)
def report(request):
    """What is found, by the names of what was asked."""
    shutil.rmtree(OUT, ignore_errors=True)
    device = choose_device("cuda")
    found = {"device": device_name(device), "precision": best_precision(device), **versions()}
    yield found
    found["failed"] = request.session.testsfailed
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "gpu.json").write_text(json.dumps(found, indent=1) + "\n")
    print(f"\nwritten to {OUT / 'gpu.json'}")


@pytest.fixture(scope="module")
def pictures():
    return load_data("synthetic", "cuda", 1_000)


def start(*words, **environment):
    """Run a module of Python from the repository."""
    command = [sys.executable, "-m", *words]
    result = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


def train(data, norm="bn", log=lambda line: None, checkpoint=None, **recipe):
    torch.manual_seed(0)
    model = Session8Net(norm)
    return fit(model, data, Recipe(**{"epochs": 2} | recipe), log, checkpoint), model


def same_bits(data, norm):
    (_, a), (_, b) = train(data, norm), train(data, norm)
    weights = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(p, q) for p, q in weights)


def test_the_notebooks(report):
    start("era8", "run", "--or-synthetic", "--epochs", "2", "--out", str(OUT / "notebooks"))
    runs = load_runs(OUT / "notebooks")
    assert runs.norm.tolist().count("bn") == 2 and set(runs.norm) == {"bn", "gn", "ln"}
    assert set(runs.device) == {report["device"]}
    report["notebooks"] = json.loads(runs[COLUMNS].to_json(orient="records"))


@pytest.mark.parametrize("norm", ["bn", "gn", "ln"])
@pytest.mark.parametrize(("precision", "optimizer"), SETTINGS)
def test_nothing_waits_inside_an_epoch(pictures, monkeypatch, norm, precision, optimizer):
    normalise(pictures.train.images[:1])  # the first call copies mean and spread

    def watch(log, batches, n_steps, title):
        torch.cuda.set_sync_debug_mode("default" if "evaluation" in title else "error")
        try:
            yield from batches
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr("era8.progress.ProgressLog.watch", watch)
    train(pictures, norm, precision=precision, optimizer=optimizer)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_run_that_is_stopped_goes_on(pictures, tmp_path, precision):
    recipe, lines = {"epochs": 4, "precision": precision}, []

    def stop(line):
        if line.startswith("epoch  2/"):
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(pictures, log=stop, checkpoint=tmp_path / "checkpoint.pt", **recipe)
    record, _ = train(pictures, log=lines.append, checkpoint=tmp_path / "checkpoint.pt", **recipe)
    assert [line[:9] for line in lines] == ["epoch  3/", "epoch  4/"]
    whole, _ = train(pictures, **recipe)
    assert record.train_loss == pytest.approx(whole.train_loss, rel=0.05)


@pytest.mark.parametrize("norm", ["bn", "gn", "ln"])
def test_the_same_seed_is_the_same_run(report, pictures, monkeypatch, norm):
    """To the bit where torch is told to be deterministic; else it is noted whether it was."""
    report.setdefault("deterministic by default", {})[norm] = same_bits(pictures, norm)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    try:
        assert same_bits(pictures, norm)
    finally:
        torch.use_deterministic_algorithms(False)


def test_the_benchmark(report):
    try:
        find_or_fetch(None)
    except FetchError as error:
        pytest.skip(str(error))
    file = OUT / "benchmark.json"
    start("benchmarks", "--race", "--out", str(file), PYTHONPATH=os.getcwd())
    report["benchmark"] = json.loads(file.read_text())
