"""A run that is stopped and started again ends as if it had never been stopped."""

import contextlib
import io
import random
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support import make, quiet, same_weights, stop_after, without_times
from torch.nn import functional as F

from era8 import Recipe, Session8Net, fit, fit_in
from era8.checkpoint import SEAL, Checkpoint, CheckpointError
from era8.device import versions
from era8.disk import CHECKPOINT


def start_and_stop(data, path, norm="bn", **recipe):
    """Train two of four epochs, and stop as Ctrl-C would."""
    with pytest.raises(KeyboardInterrupt, match="stopped after epoch 2 of 4"):
        fit(make(norm), data, Recipe(epochs=4, **recipe), stop_after(2), path)


@pytest.fixture
def stopped(data, tmp_path):
    """The checkpoint of a run that was stopped."""
    start_and_stop(data, tmp_path / CHECKPOINT)
    return tmp_path / CHECKPOINT


@pytest.mark.parametrize(
    ("norm", "optimizer"),
    [*[(norm, "muon") for norm in ("bn", "gn", "ln", "none")], ("bn", "sgd"), ("ln", "adamw")],
)
def test_a_run_goes_on_from_its_checkpoint(data, tmp_path, norm, optimizer):
    path, recipe = tmp_path / "new" / CHECKPOINT, Recipe(epochs=4, optimizer=optimizer)
    start_and_stop(data, path, norm, optimizer=optimizer)
    lines, model, whole = [], make(norm), make(norm)
    resumed = fit(model, data, recipe, lines.append, path)
    assert [line[:9] for line in lines] == ["epoch  3/", "epoch  4/"]
    record = fit(whole, data, recipe, quiet)
    assert without_times(record) == without_times(resumed)
    assert record.confusion == resumed.confusion and same_weights(whole, model)


class Restless(Session8Net):
    """Draws from torch's, Python's and numpy's generators as it goes."""

    def forward(self, images):
        noise = random.random() + np.random.random() if self.training else 1
        return F.dropout(super().forward(images), training=self.training) * (1 + 0.01 * noise)


def test_all_generators_go_on_too(data, tmp_path):
    records = []
    for stopped in (False, True):
        random.seed(0)
        np.random.seed(0)
        for log in [stop_after(2)] * stopped + [quiet]:
            torch.manual_seed(0)
            with contextlib.suppress(KeyboardInterrupt):
                path = tmp_path / f"{stopped}.pt"
                records.append(fit(Restless(), data, Recipe(epochs=3), log, path))
            random.seed(99)  # another process begins elsewhere
            np.random.seed(99)
    whole, resumed = records
    assert without_times(whole) == without_times(resumed)
    assert whole.confusion == resumed.confusion


def test_a_stop_before_an_epoch_is_saved_does_not_count_it(data, tmp_path, monkeypatch):
    path, lines = tmp_path / CHECKPOINT, []
    start_and_stop(data, path)

    def stop(state, history, sittings):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", stop)
        with pytest.raises(KeyboardInterrupt, match="stopped after epoch 2 of 4"):
            fit(make(), data, Recipe(epochs=4), quiet, path)
    fit(make(), data, Recipe(epochs=4), lines.append, path)
    assert [line[:9] for line in lines] == ["epoch  3/", "epoch  4/"]


class Watched(io.StringIO):
    """Standard output that a person sees."""

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("training", "n_images", "title"),
    [
        (True, 128, "epoch  1/1  "),
        (False, 60, "epoch  1/1, evaluation  "),
        (False, 250, "epoch 1/1, evaluation of the training images  "),
    ],
)
def test_a_stop_leaves_no_bar(data, monkeypatch, training, n_images, title):
    """Not in training, nor while the held-out or the training images are evaluated."""
    monkeypatch.setattr("sys.stdout", Watched())

    def stop(model, images):
        if model.training == training and len(images[0]) == n_images:
            raise KeyboardInterrupt

    model = make()
    model.register_forward_pre_hook(stop)
    with pytest.raises(KeyboardInterrupt) as stopped:  # keeps what was at work, as a notebook does
        fit(model, data, Recipe(epochs=1))
    *_, bar, _, rest = sys.stdout.getvalue().split("\r")
    assert bar.startswith(title) and rest == "" and stopped.tb is not None


def test_a_finished_run_is_only_read_again(data, tmp_path):
    path, lines = tmp_path / CHECKPOINT, []
    first = fit(make(), data, Recipe(epochs=2), quiet, path)
    again = fit(make(), data, Recipe(epochs=2), lines.append, path)
    assert lines == [] and again.history == first.history
    assert again.test_accuracy == first.test_accuracy


def test_a_stopped_run_in_its_folder_goes_on_and_other_settings_begin_anew(data, tmp_path):
    with pytest.raises(KeyboardInterrupt, match="stopped after epoch 1 of 3"):
        fit_in(tmp_path, make("ln", groups=2), data, Recipe(epochs=3), stop_after(1))
    record, _ = fit_in(tmp_path, make("ln"), data, Recipe(epochs=2), quiet)
    assert record.epochs == 2
    lines, model = [], make("ln", groups=1)  # groups mean nothing here
    record, _ = fit_in(tmp_path, model, data, Recipe(epochs=3), lines.append)
    assert record.epochs == 3 and [line[:8] for line in lines] == ["epoch  2", "epoch  3"]


def test_a_foreign_checkpoint_is_set_aside(data, tmp_path):
    torch.manual_seed(1)
    with pytest.raises(KeyboardInterrupt):
        fit_in(tmp_path, Session8Net(), data, Recipe(epochs=2), stop_after(1))
    lines, expected = [], fit_in(tmp_path / "plain", make(), data, Recipe(epochs=2), quiet)[0]
    record, folder = fit_in(tmp_path, make(), data, Recipe(epochs=2), lines.append)
    assert "renamed to aside-0-checkpoint.pt; starting anew" in lines[0] and len(lines) == 3
    assert record.history[-1]["train_loss"] == expected.history[-1]["train_loss"]
    assert (folder / f"aside-0-{CHECKPOINT}").exists() and not (folder / CHECKPOINT).exists()


def test_a_checkpoint_of_another_run_is_refused(data, stopped, monkeypatch):
    """Of other settings, or of other weights, layers or images where the settings are the same."""
    before, edited = stopped.read_bytes(), make()
    edited.C1[1] = torch.nn.SiLU()
    torch.manual_seed(1)
    other = Session8Net()
    flipped = replace(data, train=replace(data.train, labels=data.train.labels.flip(0)))
    for model, given, change, message in (
        (make(), data, {"lr": 0.1}, "lr is 0.05 there, 0.1 here; delete it"),
        (make(), data, {"epochs": 5}, "epochs is 4 there, 5 here"),
        (make(), data, {"seed": 1, "batch_size": 50}, "batch_size is 128 there, 50 here"),
        (make("gn"), data, {}, "norm is bn there, gn here"),
        (make(skip=False), data, {}, "skip is True there, False here"),
        (make(init="he"), data, {}, "init is torch there, he here"),
        (make(), data.take(200), {}, "train_images is 300 there, 200 here"),
        (other, data, {}, "initialisation is [0-9a-f]{8} there"),
        (edited, data, {}, "initialisation is"),
        (make(), flipped, {}, "images is"),
    ):
        with pytest.raises(CheckpointError, match=f"is of another run: .*{message}"):
            fit(model, given, Recipe(**{"epochs": 4} | change), quiet, stopped)
    monkeypatch.setattr("era8.checkpoint.FORMAT", 99)
    with pytest.raises(CheckpointError, match="format is 5 there, 99 here"):
        fit(make(), data, Recipe(epochs=4), quiet, stopped)
    assert stopped.read_bytes() == before


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
    assert lines == ["resumes on another kind of device: the images come in another order now"]
    assert torch.rand(1, generator=generator) < 1


def test_a_record_names_all_that_made_it(data, tmp_path, monkeypatch):
    path, made_by, lines = tmp_path / CHECKPOINT, versions(), []
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    start_and_stop(data, path)
    begun = torch.load(io.BytesIO(path.read_bytes()[SEAL:]))["sittings"][0]["started"]
    monkeypatch.setattr("era8.train.versions", lambda: made_by | {"commit": "another"})
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)  # with which sums come out otherwise
    record = fit(make(), data, Recipe(epochs=4), lines.append, path)
    assert record.versions["commit"] == f"{made_by['commit']}, then another"
    first, second = record.device.split(", then ")
    assert lines[0] == f"resumes with device {second}; it was {first}"
    assert first.endswith(", 1 thread(s)") and second.endswith(", 2 thread(s)")
    assert record.started == begun


def test_a_full_disk_keeps_the_checkpoint_before(data, stopped, full_disk):
    before = stopped.read_bytes()
    with full_disk, pytest.raises(OSError, match="No space left"):
        fit(make(), data, Recipe(epochs=4), quiet, stopped)
    assert stopped.read_bytes() == before
    assert [path.name for path in stopped.parent.iterdir()] == [CHECKPOINT]
