"""A run that is stopped at any moment and started again ends as if it had never been stopped."""

import contextlib
import hashlib
import io
import json
import random
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from era8 import Recipe, Session8Net, fit
from era8.checkpoint import SEAL, Checkpoint, CheckpointError
from era8.device import versions
from era8.records import CHECKPOINT, load_run, save_run

# A process that is killed is a fork of one that has imported all but computed nothing, so that a
# try costs no start. Each is killed at a random moment, every second one as it writes.
KILLS = """
import json, os, random, signal, sys, time, traceback
from pathlib import Path
import torch
from era8 import Recipe, Session8Net, fit
from era8.data import load_synthetic
from era8.records import load_run, save_run

def run(folder):
    torch.set_num_threads(1)
    torch.manual_seed(3)
    model = Session8Net("bn")
    recipe = Recipe(epochs=19, batch_size=20, seed=3)
    record = fit(model, load_synthetic("cpu", 100), recipe, print, folder / "checkpoint.pt")
    save_run(folder, record, model)

def start(folder):
    if pid := os.fork():
        return pid
    try:
        run(folder)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)

def end(pid):  # whether it was killed
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    return os.WIFSIGNALED(status)

out, random_ = Path(sys.argv[1]), random.Random(0)
end(start(out / "whole"))
killed = in_writing = 0
while killed < 20:
    pid, folder = start(out / "killed"), out / "killed"
    if killed % 2:
        deadline = time.monotonic() + 20
        while not any(folder.glob(".*partial*")) and time.monotonic() < deadline:
            pass
        in_writing += any(folder.glob(".*partial*"))
    else:
        time.sleep(random_.uniform(0.01, 0.4))
    os.kill(pid, signal.SIGKILL)
    if end(pid):
        killed += 1
    else:  # it was faster: begin again
        (folder / "record.json").unlink()
end(start(out / "killed"))
json.dump({"killed": killed, "in_writing": in_writing}, open(out / "kills.json", "w"))
"""


def quiet(line):
    """Take a line of the log and say nothing."""


def make(*args, **settings):
    """A network with the first weights of seed 0."""
    torch.manual_seed(0)
    return Session8Net(*args, **settings)


def without_times(record):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in record.history]


def read(path):
    """The content of a checkpoint."""
    return torch.load(io.BytesIO(path.read_bytes()[SEAL:]))


def write(path, state):
    """A checkpoint that is sealed as it should be."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path.write_bytes(hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())


def start_and_stop(data, path, norm="bn", after=2, **recipe):
    """Train and stop after some epochs, as Ctrl-C would."""

    def stop(line):
        if line.startswith(f"epoch  {after}/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=f"stopped after epoch {after} of "):
        fit(make(norm), data, Recipe(**{"epochs": 4, **recipe}), stop, path)


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
def test_twenty_kills_change_nothing(tmp_path):
    command = [sys.executable, "-c", KILLS, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stderr
    kills = json.loads((tmp_path / "kills.json").read_text())
    assert kills["killed"] == 20 and kills["in_writing"] >= 1
    whole, killed = load_run(tmp_path / "whole"), load_run(tmp_path / "killed")
    assert without_times(whole) == without_times(killed) and len(whole.history) == 19
    assert (whole.test_loss, whole.confusion) == (killed.test_loss, killed.confusion)
    weights = [torch.load(tmp_path / name / "weights.pt") for name in ("whole", "killed")]
    assert all(torch.equal(a, b) for a, b in zip(*(w.values() for w in weights), strict=True))
    assert not (tmp_path / "killed" / CHECKPOINT).exists()


@pytest.mark.parametrize(
    ("norm", "optimizer"),
    [*[(norm, "muon") for norm in ("bn", "gn", "ln", "none")], ("bn", "sgd"), ("ln", "adamw")],
)
def test_a_run_goes_on_from_its_checkpoint(data, tmp_path, norm, optimizer):
    path, recipe = tmp_path / "new" / CHECKPOINT, Recipe(epochs=4, optimizer=optimizer)
    start_and_stop(data, path, norm, optimizer=optimizer)
    lines, model = [], make(norm)
    resumed = fit(model, data, recipe, lines.append, path)
    assert [line[:9] for line in lines] == ["epoch  3/", "epoch  4/"]
    whole = make(norm)
    record = fit(whole, data, recipe, quiet)
    assert without_times(record) == without_times(resumed)
    assert record.confusion == resumed.confusion and record.test_loss == resumed.test_loss
    pairs = zip(whole.state_dict().values(), model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_finished_run_is_only_read_again(data, tmp_path):
    path = tmp_path / CHECKPOINT
    first = fit(make(), data, Recipe(epochs=2), quiet, path)
    lines = []
    again = fit(make(), data, Recipe(epochs=2), lines.append, path)
    assert lines == [] and again.history == first.history
    assert again.test_accuracy == first.test_accuracy


def test_dropout_goes_on_with_the_same_draws(data, tmp_path):
    def make():
        torch.manual_seed(0)
        return torch.nn.Sequential(
            torch.nn.AvgPool2d(8), torch.nn.Flatten(), torch.nn.Dropout(), torch.nn.Linear(48, 10)
        )

    def stop(line):
        raise KeyboardInterrupt

    whole = fit(make(), data, Recipe(epochs=3), quiet)
    with pytest.raises(KeyboardInterrupt):
        fit(make(), data, Recipe(epochs=3), stop, tmp_path / CHECKPOINT)
    resumed = fit(make(), data, Recipe(epochs=3), quiet, tmp_path / CHECKPOINT)
    assert without_times(whole) == without_times(resumed)


def test_the_checkpoint_goes_when_the_record_is_there(data, tmp_path):
    model = make()
    record = fit(model, data, Recipe(epochs=1), quiet, tmp_path / CHECKPOINT)
    assert (tmp_path / CHECKPOINT).exists()
    save_run(tmp_path, record, model)
    assert {path.name for path in tmp_path.iterdir()} == {
        "record.json", "history.csv", "weights.pt",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 0.1}, "is of another run: lr is 0.05 there, 0.1 here; delete it"),
        ({"epochs": 5}, "epochs is 4 there, 5 here"),
        (
            {"seed": 1, "batch_size": 50},
            "batch_size is 128 there, 50 here",
        ),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(data, tmp_path, change, message):
    path = tmp_path / CHECKPOINT
    start_and_stop(data, path, lr=0.05)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        fit(make(), data, Recipe(**{"epochs": 4, "lr": 0.05, **change}), quiet, path)
    assert path.read_bytes() == before


def test_a_checkpoint_of_another_network_or_data_is_refused(data, tmp_path):
    path = tmp_path / CHECKPOINT
    start_and_stop(data, path)
    with pytest.raises(ValueError, match="norm is bn there, gn here"):
        fit(make("gn"), data, Recipe(epochs=4), quiet, path)
    with pytest.raises(ValueError, match="skip is True there, False here"):
        fit(make(skip=False), data, Recipe(epochs=4), quiet, path)
    with pytest.raises(ValueError, match="init is torch there, he here"):
        fit(make(init="he"), data, Recipe(epochs=4), quiet, path)
    with pytest.raises(ValueError, match="train_images is 300 there, 200 here"):
        fit(make(), data.take(200), Recipe(epochs=4), quiet, path)


def test_a_checkpoint_of_other_weights_images_or_layers_is_refused(data, tmp_path):
    """All that the settings say is the same."""
    path = tmp_path / CHECKPOINT
    start_and_stop(data, path)
    torch.manual_seed(1)
    with pytest.raises(CheckpointError, match="run: initialisation is [0-9a-f]{8} there"):
        fit(Session8Net(), data, Recipe(epochs=4), quiet, path)
    model = make()
    model.C1[1] = torch.nn.SiLU()
    with pytest.raises(CheckpointError, match="of another run: initialisation is"):
        fit(model, data, Recipe(epochs=4), quiet, path)
    shuffled = replace(data.train, labels=data.train.labels.flip(0))
    with pytest.raises(CheckpointError, match="of another run: images is"):
        fit(make(), replace(data, train=shuffled), Recipe(epochs=4), quiet, path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_flipped_bit_is_noticed(data, tmp_path, share):
    path = tmp_path / CHECKPOINT
    start_and_stop(data, path)
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged: .* is not as it was written; delete it"):
        fit(make(), data, Recipe(epochs=4), quiet, path)


def test_another_precision_goes_on_where_the_device_chooses_it(data, tmp_path, monkeypatch):
    path, lines = tmp_path / CHECKPOINT, []
    monkeypatch.setattr("era8.train.best_precision", lambda device: "fp32")
    start_and_stop(data, path)
    monkeypatch.setattr("era8.train.best_precision", lambda device: "bf16")
    record = fit(make(), data, Recipe(epochs=4), lines.append, path)
    assert lines[0] == "resumes with precision bf16; it was fp32"
    assert record.precision == "fp32, then bf16"
    start_and_stop(data, tmp_path / "other", precision="fp32")
    with pytest.raises(CheckpointError, match="precision is fp32 there, auto here"):
        fit(make(), data, Recipe(epochs=4), quiet, tmp_path / "other")


def test_a_generator_of_another_device_begins_anew(tmp_path):
    lines, generator, path = [], torch.Generator(), tmp_path / CHECKPOINT
    other = SimpleNamespace(get_state=lambda: torch.zeros(16, dtype=torch.uint8))
    Checkpoint(path, {}, {}, [other]).save([], [])
    Checkpoint(path, {}, {}, [generator]).load(lines.append)
    assert lines == ["going on on another kind of device: the images come in another order now"]
    assert torch.rand(1, generator=generator) < 1


def test_a_checkpoint_of_another_version_is_refused(data, tmp_path, monkeypatch):
    path = tmp_path / CHECKPOINT
    start_and_stop(data, path)
    monkeypatch.setattr("era8.checkpoint.FORMAT", 99)
    with pytest.raises(ValueError, match="format is 5 there, 99 here"):
        fit(make(), data, Recipe(epochs=4), quiet, path)


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", None])
def test_a_damaged_checkpoint_is_named_and_kept(data, tmp_path, damage):
    path = tmp_path / CHECKPOINT
    start_and_stop(data, path)
    path.write_bytes(path.read_bytes()[:5_000] if damage is None else damage)
    with pytest.raises(ValueError, match="damaged: .*; delete it to start the run anew"):
        fit(make(), data, Recipe(epochs=4), quiet, path)
    assert path.exists()


@pytest.mark.parametrize("change", ["parts", "model", "shape", "history"])
def test_a_checkpoint_whose_parts_do_not_fit_is_named(data, tmp_path, change):
    path = tmp_path / CHECKPOINT
    start_and_stop(data, path)
    state = read(path)
    if change == "shape":
        state["parts"]["model"]["C1.0.weight"] = torch.zeros(2, 2)
    else:
        del (state["parts"] if change == "model" else state)[change]
    write(path, state)
    with pytest.raises(ValueError, match="checkpoint.pt does not fit this run: .*; delete it"):
        fit(make(), data, Recipe(epochs=4), quiet, path)


def test_a_record_names_all_that_made_it(data, tmp_path, monkeypatch):
    path, made_by, lines = tmp_path / CHECKPOINT, versions(), []
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    start_and_stop(data, path)
    begun = read(path)["sittings"][0]["started"]
    monkeypatch.setattr("era8.train.versions", lambda: made_by | {"commit": "another"})
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)  # with which sums come out otherwise
    record = fit(make(), data, Recipe(epochs=4), lines.append, path)
    assert record.versions["commit"] == f"{made_by['commit']}, then another"
    first, second = record.device.split(", then ")
    assert lines[0] == f"resumes with device {second}; it was {first}"
    assert first.endswith(", 1 thread(s)") and second.endswith(", 2 thread(s)")
    assert record.started == begun


def test_loading_never_executes_code(data, tmp_path):
    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "executed"), "w")

    write(tmp_path / CHECKPOINT, {"run": Evil()})
    with pytest.raises(ValueError, match="checkpoint is damaged"):
        fit(make(), data, Recipe(epochs=4), quiet, tmp_path / CHECKPOINT)
    assert not (tmp_path / "executed").exists()


def test_a_full_disk_keeps_the_checkpoint_before(data, tmp_path, monkeypatch):
    path = tmp_path / CHECKPOINT
    start_and_stop(data, path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("era8.checkpoint.Path.write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        fit(make(), data, Recipe(epochs=4), quiet, path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == [CHECKPOINT]


class Restless(Session8Net):
    """Draws from Python's and numpy's generators as it goes."""

    def forward(self, images):
        noise = random.random() + np.random.random() if self.training else 1
        return super().forward(images) * (1 + 0.01 * noise)


def test_pythons_and_numpys_generators_go_on_too(data, tmp_path):
    records = []
    for stopped in (False, True):
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)
        first = Restless().state_dict()
        path = tmp_path / f"{stopped}.pt"
        for _ in range(1 + stopped):
            model = Restless()
            model.load_state_dict(first)
            log = stop_after(2) if stopped and not path.exists() else quiet
            with contextlib.suppress(KeyboardInterrupt):
                records.append(fit(model, data, Recipe(epochs=3), log, path))
            random.seed(99)  # another process begins elsewhere
            np.random.seed(99)
    whole, resumed = records
    assert whole.train_loss == resumed.train_loss and whole.confusion == resumed.confusion


def stop_after(epoch):
    def log(line):
        if line.startswith(f"epoch {epoch:2d}/"):
            raise KeyboardInterrupt

    return log
