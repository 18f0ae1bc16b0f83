"""A run in a folder of its own: found again, gone on with, never overwritten."""

import errno
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support import make, quiet, same_weights

from era8 import Recipe, Session8Net, fit_in
from era8.checks import folder
from era8.disk import CHECKPOINT, BusyError, claim
from era8.kernel import settings_of
from era8.notebooks import NOTEBOOKS, check_parameters
from era8.records import load_run, save_run
from era8.run import Run, run_of
from era8.sweep.grid import expand
from era8.sweep.work import Workspace, train, unfinished


def test_a_finished_run_is_read_instead_of_trained(data, tmp_path):
    lines, first, again = [], make(), make()
    record, folder = fit_in(tmp_path, first, data, Recipe(epochs=2), quiet)
    same, there = fit_in(tmp_path, again, data, Recipe(epochs=2), lines.append)
    assert (same, there) == (record, folder)
    assert [line[:12] for line in lines[1:]] == ["  epoch  1/2", "  epoch  2/2"]
    assert lines[0] == f"trained before: {folder} is read instead; rename it to train anew"
    assert same_weights(first, again)


def test_groups_have_no_meaning_but_for_groupnorm(data, tmp_path):
    """A sweep trains BN with the default of two groups, its notebook says one."""
    record, _ = fit_in(tmp_path, make("bn", groups=2), data, Recipe(epochs=1), quiet)
    assert fit_in(tmp_path, make("bn", groups=1), data, Recipe(epochs=1), quiet)[0] == record


def test_what_a_process_that_was_killed_as_it_ended_left_is_cleared(data, tmp_path):
    """The checkpoint goes after the record has come; a sweep finds the cell and clears it up."""
    (cell,) = expand([{"train_images": 300, "epochs": 1}])
    workspace = Workspace(tmp_path, "synthetic", "cpu")
    _, folder = fit_in(tmp_path, make(), data, Recipe(epochs=1), quiet)
    assert unfinished([cell], workspace) == []
    (folder / CHECKPOINT).write_text("")
    (folder / ".new.1.partial").mkdir()
    (folder / ".new.1.partial" / "weights.pt").write_text("half")
    (folder / ".curves.1.partial.png").write_text("half")
    assert unfinished([cell], workspace) == [cell]
    train(cell, workspace, quiet)
    assert unfinished([cell], workspace) == [] and not (folder / CHECKPOINT).exists()
    assert not list(folder.glob("*partial*"))


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EIO])
def test_a_drive_without_locks(tmp_path, monkeypatch, number):
    """Then a file's existence is the lock; one that was left by another machine is named."""
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_):
        raise OSError(number, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with claim(tmp_path), pytest.raises(BusyError, match="another process .*, since .*wait for it"):
        with claim(tmp_path):
            pass
    with claim(tmp_path):  # it was freed
        (left,) = tmp_path.glob(".lock*") if number == errno.ENOSYS else tmp_path.glob("*.soft")
    left.write_text("77\nelsewhere\n")
    with pytest.raises(BusyError, match=f"77 on elsewhere, since .*has ended, delete {left}"):
        with claim(tmp_path):
            pass
    left.unlink()
    with claim(tmp_path):
        pass


@pytest.mark.parametrize("out_dir", [None, 5, "", "x" * 256, "~nosuchuser/x", "a\0b", "file/runs"])
def test_out_dir_is_a_folder(data, tmp_path, monkeypatch, out_dir):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="^out_dir must be a folder that is there or can be made"):
        fit_in(out_dir, make(), data, Recipe(epochs=1), quiet)
    with pytest.raises(ValueError, match="^folder must be a folder that is there or can be made"):
        save_run(out_dir, None, make())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_out_dir_of_a_home_or_a_parent(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert folder("out_dir", "~/x") == Path("home/x")
    assert folder("out_dir", "nowhere/../x") == Path("x") and folder("out_dir", "/x") == Path("/x")


def test_a_name_that_is_too_long_for_a_folder_is_shortened():
    long = {"seed": 2**62, "train_images": 49_999, "model": "norm_first", "momentum": 0.1 + 0.2}
    floats = {name: 1e-300 / 3 for name in ("lr", "weight_decay", "warmup")}
    long |= floats | {"val_images": 4_999, "init": "he", "skip": False, "optimizer": "adamw"}
    long |= {"batch_size": 44_444, "precision": "bf16", "flip": False, "norm": "gn", "groups": 16}
    names = [Run(**long, max_shift=shift).name for shift in (1, 3)]
    assert len(set(names)) == 2 and max(map(len, names)) < 100


def test_a_sweep_and_a_notebook_name_a_run_alike(data, tmp_path):
    """So what the one has trained the other finds."""
    grids = [
        {"norm": ["bn", "gn"], "skip": [True, False], "groups": [4], "epochs": [2], "seed": [1]},
        {"model": ["separable"], "norm": ["ln"], "val_images": [30], "precision": ["fp32"]},
    ]
    workspace = Workspace(tmp_path, "synthetic")
    for cell in expand({**grid, "train_images": [300]} for grid in grids):
        trained = run_of(cell.make_model(), data.hold_out(cell.val_images), cell)
        assert workspace.folder(cell) == tmp_path / trained.name and trained == workspace.here(cell)


@pytest.mark.filterwarnings("ignore:.torch.jit.script")
def test_a_finished_run_of_other_weights_or_images_is_not_taken(data, tmp_path):
    """The settings are the same each time: a class that was edited, a seed that was forgotten."""
    fit_in(tmp_path, make(), data, Recipe(epochs=1), quiet)
    edited = make()
    edited.GAP = torch.nn.AdaptiveMaxPool2d(1)
    torch.manual_seed(1)
    images = replace(data, train=replace(data.train, images=255 - data.train.images))
    for model, given, what in (
        (edited, data, "initialisation"),
        (Session8Net(), data, "initialisation"),
        (make(), images, "images"),
    ):
        with pytest.raises(ValueError, match=f"holds a run of other {what}; move it away"):
            fit_in(tmp_path, model, given, Recipe(epochs=1), quiet)
    (folder,) = tmp_path.iterdir()
    assert load_run(folder).epochs == 1  # it is still there


def test_a_notebook_and_a_grid_have_the_same_defaults():
    """So a cell as a notebook is given only what it changes."""
    for norm in NOTEBOOKS:
        settings = settings_of(norm, check_parameters(norm, {}))
        assert Run(**settings) == Run(norm=norm) and len(settings) >= 10
