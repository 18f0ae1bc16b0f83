"""A run in a folder of its own: found again, gone on with, never overwritten."""

import errno
import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

from era8 import Recipe, Session8Net, fit_in, load_runs
from era8.checks import folder
from era8.notebooks import NOTEBOOKS, check_parameters
from era8.records import CHECKPOINT, BusyError, claim, load_run, save_run
from era8.run import KINDS, Run, fingerprint_code, run_of
from era8.sweep.grid import expand
from era8.sweep.work import Workspace, train, unfinished


def make(*args, **settings):
    torch.manual_seed(0)
    return Session8Net(*args, **settings)


def quiet(line):
    """Take a line of the log and say nothing."""


def stop(line):
    raise KeyboardInterrupt


def test_a_finished_run_is_read_instead_of_trained(data, tmp_path):
    lines, first, again = [], make(), make()
    record, folder = fit_in(tmp_path, first, data, Recipe(epochs=2), quiet)
    same, there = fit_in(tmp_path, again, data, Recipe(epochs=2), lines.append)
    assert (same, there) == (record, folder)
    assert [line[:12] for line in lines[1:]] == ["  epoch  1/2", "  epoch  2/2"]
    assert lines[0] == f"trained before: {folder} is read instead; rename it to train anew"
    pairs = zip(first.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_groups_have_no_meaning_but_for_groupnorm(data, tmp_path):
    """A sweep trains BN with the default of two groups, its notebook says one."""
    record, _ = fit_in(tmp_path, make("bn", groups=2), data, Recipe(epochs=1), quiet)
    assert fit_in(tmp_path, make("bn", groups=1), data, Recipe(epochs=1), quiet)[0] == record
    with pytest.raises(KeyboardInterrupt):
        fit_in(tmp_path, make("ln", groups=2), data, Recipe(epochs=2), stop)
    lines = []
    fit_in(tmp_path, make("ln", groups=1), data, Recipe(epochs=2), lines.append)
    assert [line[:8] for line in lines] == ["epoch  2"]


def test_what_a_process_that_was_killed_as_it_ended_left_is_cleared(data, tmp_path):
    """The checkpoint goes after the record has come; a sweep finds the cell and clears it up."""
    (cell,) = expand([{"train_images": 300, "epochs": 1}])
    workspace = Workspace(tmp_path, "synthetic", "cpu")
    _, folder = fit_in(tmp_path, make(), data, Recipe(epochs=1), quiet)
    assert unfinished([cell], workspace) == []
    (folder / CHECKPOINT).write_text("")
    (folder / ".new.1.partial").mkdir()
    assert unfinished([cell], workspace) == [cell]
    train(cell, workspace, quiet)
    assert unfinished([cell], workspace) == [] and not (folder / CHECKPOINT).exists()
    assert not (folder / ".new.1.partial").exists()


def test_other_settings_have_other_folders(data, tmp_path):
    fit_in(tmp_path, make(), data, Recipe(epochs=1), quiet)
    fit_in(tmp_path, make(skip=False), data, Recipe(epochs=1), quiet)
    fit_in(tmp_path, make("gn", groups=4), data, Recipe(epochs=1, seed=3), quiet)
    fit_in(tmp_path, make(), data.hold_out(50), Recipe(epochs=1), quiet)
    runs = load_runs(tmp_path)
    assert len(runs) == 4 and set(runs.seed) == {0, 3}


def test_a_stopped_run_goes_on_and_other_settings_begin_anew(data, tmp_path):
    with pytest.raises(KeyboardInterrupt, match="stopped after epoch 1 of 3"):
        fit_in(tmp_path, make(), data, Recipe(epochs=3), stop)
    record, _ = fit_in(tmp_path, make(), data, Recipe(epochs=2), quiet)
    assert record.epochs == 2
    lines = []
    record, _ = fit_in(tmp_path, make(), data, Recipe(epochs=3), lines.append)
    assert record.epochs == 3 and [line[:8] for line in lines] == ["epoch  2", "epoch  3"]


def test_a_foreign_checkpoint_is_set_aside(data, tmp_path):
    torch.manual_seed(1)
    with pytest.raises(KeyboardInterrupt):
        fit_in(tmp_path, Session8Net(), data, Recipe(epochs=2), stop)
    lines, expected = [], fit_in(tmp_path / "plain", make(), data, Recipe(epochs=2), quiet)[0]
    record, folder = fit_in(tmp_path, make(), data, Recipe(epochs=2), lines.append)
    assert "renamed to aside-0-checkpoint.pt; starting anew" in lines[0] and len(lines) == 3
    assert record.history[-1]["train_loss"] == expected.history[-1]["train_loss"]
    assert (folder / f"aside-0-{CHECKPOINT}").exists() and not (folder / CHECKPOINT).exists()


def test_two_at_once_are_one(data, tmp_path):
    folder = tmp_path / run_of(make(), data, Recipe(epochs=1)).name
    folder.mkdir()
    with FileLock(folder / ".lock"), pytest.raises(BusyError, match="another process; wait for it"):
        fit_in(tmp_path, make(), data, Recipe(epochs=1), quiet)


def test_what_a_killed_process_left_is_cleared(tmp_path):
    (tmp_path / ".new.1.partial").mkdir()
    (tmp_path / ".new.1.partial" / "weights.pt").write_text("half")
    (tmp_path / ".curves.1.partial.png").write_text("half")
    with claim(tmp_path) as folder:
        assert [path.name for path in folder.iterdir()] == [".lock"]


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


def test_the_record_of_another_run_is_not_touched(data, tmp_path):
    record, folder = fit_in(tmp_path, make(), data, Recipe(epochs=1), quiet)
    save_run(folder, replace(record, lr=1.0), make())
    with pytest.raises(ValueError, match="holds the record of another run .lr is 1.0, not 0.05"):
        fit_in(tmp_path, make(), data, Recipe(epochs=1), quiet)
    assert load_runs(tmp_path).lr.tolist() == [1.0]


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


def test_a_class_of_a_notebook_is_known_by_what_it_does():
    """No file has its source; where in the notebook it stands does not matter."""
    source = """class Own(nn.Module):
        eps, pad = 1e-5, property(lambda self: 4)
        def forward(self, x, power=2):
            return (lambda y: y * 0.5)(x.mean((1, 2)) + self.eps) ** power
    """

    def know(source):
        names = {"__name__": "cell", "nn": torch.nn}
        exec(source, names)
        return fingerprint_code(names["Own"]())

    edits = [("1e-5", "1e-3"), ("4)", "5)"), ("=2", "=3"), ("0.5", "0.25"), ("(1, 2)", "(1, 3)")]
    assert know(f"\n{source}") == know(source)
    assert len({know(source), *(know(source.replace(*edit)) for edit in edits)}) == 6


def test_a_file_that_is_edited_after_its_import_is_not_what_was_trained(tmp_path, monkeypatch):
    source = "from torch import nn\nclass Own(nn.ReLU):\n    size = 1\n"
    (tmp_path / "later.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    before = fingerprint_code(make("later:Own"))
    (tmp_path / "later.py").write_text(source.replace("1", "23"))
    assert fingerprint_code(make("later:Own")) == before
    importlib.reload(sys.modules["later"])
    assert fingerprint_code(make("later:Own")) != before


def test_a_model_that_is_not_era8s_own(data, tmp_path):
    layers = torch.nn.AvgPool2d(8), torch.nn.Flatten(), torch.nn.Linear(48, 10)
    _, folder = fit_in(tmp_path, torch.nn.Sequential(*layers), data, Recipe(epochs=1), quiet)
    assert folder.name.startswith("Sequential-seed=0-epochs=1")
    has = {"norm": torch.nn.BatchNorm2d(1), "skip": len, "groups": None}  # not what era8 means
    own, other = type("Own", (torch.nn.Sequential,), has), replace(data, name="../a/b")
    record, again = fit_in(tmp_path, own(*layers), other, Recipe(epochs=1), quiet)
    assert again.parent == tmp_path and again.name.endswith("data=.._a_b")
    assert (record.norm, record.skip, record.groups) == ("", False, 2)
    scripted = torch.jit.script(torch.nn.Sequential(*layers))
    assert fit_in(tmp_path, scripted, data, Recipe(epochs=1), quiet)[0].model


@pytest.mark.parametrize("name", ["record.json", "history.csv", "weights.pt"])
def test_a_damaged_result_is_set_aside_and_trained_again(data, tmp_path, name):
    record, folder = fit_in(tmp_path, make(), data, Recipe(epochs=1), quiet)
    (folder / name).write_bytes((folder / name).read_bytes()[:-5] + b"12345")
    lines = []
    again, _ = fit_in(tmp_path, make(), data, Recipe(epochs=1), lines.append)
    assert "renamed to aside-0-record.json; starting anew" in lines[0]
    assert (again.train_loss, again.confusion) == (record.train_loss, record.confusion)
    assert (folder / f"aside-0-{name}").exists() and load_runs(tmp_path).shape[0] == 1


def test_a_notebook_and_a_grid_have_the_same_defaults():
    """So a cell as a notebook is given only what it changes."""
    for norm in NOTEBOOKS:
        values = check_parameters(norm, {})
        shared = {name: values[name] for name in KINDS if values.get(name) is not None}
        assert Run(**shared, norm=norm) == Run(norm=norm) and len(shared) >= 9


class Odd(Session8Net):
    """Keeps a sparse buffer, and a state that is no tensor."""

    def __init__(self):
        super().__init__()
        self.register_buffer("sparse", torch.eye(3).to_sparse())

    def get_extra_state(self):
        return {"counted": 3}

    def set_extra_state(self, state):
        assert state == {"counted": 3}


def test_a_network_of_odd_states(data, tmp_path):
    torch.manual_seed(0)
    fit_in(tmp_path, Odd(), data, Recipe(epochs=1), quiet)
    torch.manual_seed(0)
    lines = []
    fit_in(tmp_path, Odd(), data, Recipe(epochs=1), lines.append)
    assert "trained before" in lines[0]


def test_a_state_that_could_not_be_read_back_is_refused(data, tmp_path):
    model = Odd()
    model.get_extra_state = lambda: np.array([3])
    with pytest.raises(ValueError, match="state must be tensors and plain values"):
        fit_in(tmp_path, model, data, Recipe(epochs=1), quiet)
    assert not [path for path in tmp_path.rglob("*.*") if path.name != ".lock" and path.is_file()]
