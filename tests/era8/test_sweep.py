"""Grids of runs on one machine: what is trained, what is written, and what is said meanwhile."""

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
from support import SWEEP, invoke, place, quiet, runs_of

from era8 import fit, load_epochs, load_runs
from era8.__main__ import main
from era8.data import load_synthetic
from era8.kernel import settings_of
from era8.recipe import OPTIMIZERS
from era8.records import load_run
from era8.run import Run
from era8.sweep.local import sweep
from era8.sweep.plan import SweepBar, share_threads, share_workers
from era8.sweep.work import find_finished, notebook_parameters, train, unfinished

pytestmark = pytest.mark.usefixtures("forks")
GRID = "--norm bn ln --seed 0..1 --train-images 200 --epochs 2 --out".split()


@pytest.fixture(scope="module")
def finished(tmp_path_factory, forks):
    """The folder of a sweep of four runs by two workers, and what the command said."""
    folder = tmp_path_factory.mktemp("sweep") / "runs"
    result = invoke(*SWEEP, "--workers", 2, "--threads", 1, *GRID, folder)
    assert result.exit_code == 0, result.output
    return folder, result


def test_every_run_has_its_folder_and_its_record(finished):
    folder, result = finished
    for run in runs_of(norm=["bn", "ln"], seed="0..1"):
        names = {path.name for path in place(folder).folder(run).iterdir()}
        assert names - {".lock"} == {"record.json", "history.csv", "weights.pt"}
        for line in ("epoch  2/2", "finished"):
            assert f"{run.name}: {line}" in result.stdout
    assert "4 runs, 0 of them finished" in result.stderr


def test_tables_have_a_row_per_run_and_per_epoch(finished):
    folder, _ = finished
    assert len(load_runs(folder)) == 4 and len(load_epochs(folder)) == 8
    joined = load_epochs(folder).merge(load_runs(folder), on="folder")
    assert joined.groupby("norm").size().to_dict() == {"bn": 4, "ln": 4}
    for name, lines in (("runs.csv", 5), ("epochs.csv", 9)):
        assert len((folder / name).read_text().splitlines()) == lines


def test_a_run_is_the_same_alone_and_in_a_sweep(finished):
    (run,) = runs_of(norm="ln", seed=1)
    torch.manual_seed(1)
    record = fit(run.make_model(), load_synthetic("cpu", 200), run, quiet)
    there = load_run(place(finished[0]).folder(run))
    assert there.test_loss == record.test_loss
    assert (there.norm, there.seed, there.train_images) == ("ln", 1, 200)


def test_finished_runs_are_left_as_they_are(finished):
    folder, _ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("record.json")}
    runs = runs_of(norm=["bn", "ln"], seed="0..1")
    assert unfinished(runs, place(folder)) == []
    assert sweep(runs, place(folder), workers=2) == {}
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("record.json")}


def test_a_dry_run_lists_the_runs_and_gives_back_sigterm(finished):
    folder, before = finished[0], signal.getsignal(signal.SIGTERM)
    words = "--norm bn gn --seed 0 --train-images 200 --epochs 2 --dry-run --out".split()
    result = invoke(*SWEEP, *words, folder)
    assert result.exit_code == 0 and signal.getsignal(signal.SIGTERM) is before, result.output
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["finished", "bn-seed=0-epochs=2-train_images=200"],
        ["open", "gn-seed=0-epochs=2-train_images=200"],
        "2 runs, 1 of them finished".split(),
    ]
    assert not (folder / "gn-seed=0-epochs=2-train_images=200").exists()


def test_a_sweep_whose_record_cannot_be_read_has_failed(finished, tmp_path, monkeypatch):
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    (damaged,) = runs_of(norm="ln", seed=1)
    path = place(tmp_path).folder(damaged) / "history.csv"
    path.write_text(path.read_text().replace("1", "2", 1))
    monkeypatch.setattr("era8.sweep.local.sweep", lambda *args, **options: {})  # trains nothing
    with pytest.warns(UserWarning, match="left out: .* history.csv is not the file"):
        result = invoke(*SWEEP, *GRID, tmp_path)
    assert result.exit_code == 1
    assert f"{damaged.name}: its record cannot be read\nError: 1 of 4 runs failed" in result.output


def test_synthetic_runs_have_no_more_images_than_there_are(tmp_path, monkeypatch):
    for module in ("data.load", "run"):
        monkeypatch.setattr(f"era8.{module}.SYNTHETIC_IMAGES", 150)
    (run,) = runs_of(epochs=1)
    train(run, place(tmp_path), quiet)
    assert find_finished(run, place(tmp_path)).train_images == 150


def test_lines_that_break_a_silence_do_not_make_a_noise(capsys, monkeypatch):
    monkeypatch.setattr("era8.progress._said", 0.0)  # long ago
    one, other = runs_of(seed=[0, 1], epochs=9)
    with SweepBar([one, other]) as bar:
        bar.show(one, "epoch  3/9   40 %")
        bar.show(other, "epoch  1/9    4 %")
        bar.show(other, "epoch  1/9  loss 1  9.1 s")
    lines = f"{one.name}: epoch  3/9   40 %\n{other.name}: epoch  1/9  loss 1  9.1 s\n"
    assert capsys.readouterr().out == lines


def test_the_bar_follows_a_run_that_resumes(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    one, other = runs_of(seed=[0, 1], epochs=9)
    with SweepBar([one, other]) as bar:
        bar.show(one, "epoch  7/9  loss 1")
        assert bar.n == 7 * 200
        bar.show(one, "epoch  8/9   50 %")
        assert bar.n == 7.5 * 200
        for line in ("epoch  7/9, evaluation   50 %", "waits: why"):
            bar.show(one, line)
        assert bar.n == 7.5 * 200 and capsys.readouterr().out == f"{one.name}: waits: why\n"
        bar.show(one, "epoch  7/9  loss 1")  # begun again by another process
        bar.show(one, "epoch  9/9  loss 1")
        assert bar.n == pytest.approx(8.8 * 200)  # the training images are evaluated at last
        bar.show(one, "finished")
        bar.show(other, "failed: why")
        assert bar.n == pytest.approx(bar.total) and bar.total == 2 * 9 * 200


@pytest.mark.parametrize("closed", [False, True])
def test_a_dry_run_whose_output_nobody_reads_ends_well(tmp_path, monkeypatch, closed):
    """Its reader has gone, as ``| head -1`` does, or a shell has closed it, as ``>&- 2>&-``."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as gone:
        for name in ("stdin", "stdout", "stderr"):
            monkeypatch.setattr(sys, name, None if closed else gone)
        main([*SWEEP, *GRID, str(tmp_path), "--dry-run"], standalone_mode=False)
    names = [os.devnull] * 2 if closed else [gone.name] * 2
    assert [sys.stdout.name, sys.stderr.name] == names


def test_workers_and_threads_are_as_many_as_there_are_cores_for(monkeypatch):
    cores = share_threads(1)
    assert cores >= 1 and share_threads(cores) == 1 and share_threads(10 * cores) == 1
    assert share_workers("auto", 1, "cpu") == 1
    assert share_workers("auto", 10 * cores, "cpu") == cores
    assert share_workers("3", 5, "cpu") == share_workers("5", 3, "cpu") == 3
    monkeypatch.setattr("era8.sweep.plan.choose_device", torch.device)
    assert share_workers("auto", 3, "cuda") == 1


def test_a_notebook_that_cannot_take_a_setting_is_refused_before_anything_starts(tmp_path):
    for axes, message in [
        ({"momentum": 0.8}, "'momentum' is not a parameter of batch_norm.ipynb"),
        ({"norm": "none"}, "norm must be one of bn, gn, ln; got 'none'"),
    ]:
        with pytest.raises(ValueError, match=message):
            notebook_parameters(runs_of(**axes)[0], place(tmp_path), {})


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_notebook_is_given_the_learning_rate_whichever_optimizer_has_it(tmp_path, optimizer):
    """One that is Muon's own is not what the notebook takes by itself with another optimizer."""
    for lr, weight_decay in [(0.05, 1e-4), (0.1, 0.01)]:
        (run,) = runs_of(optimizer=optimizer, lr=lr, weight_decay=weight_decay, skip=False)
        given = notebook_parameters(run, place(tmp_path), {"compare_skip": False})
        assert Run(**settings_of("bn", given)).difference(run) == {}
        assert (given["device"], given["data_dir"]) == ("cpu", "synthetic")
        assert given["out_dir"] == str(tmp_path) and given["compare_skip"] is False


def test_a_notebook_is_told_where_the_runs_are_trained(tmp_path, monkeypatch):
    """Its kernel may stand in another folder, or take the clone's for its own."""
    monkeypatch.chdir(tmp_path)
    given = notebook_parameters(runs_of()[0], place(Path("runs")), {})
    assert given["out_dir"] == str(tmp_path / "runs")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("nowhere.yaml", "nowhere.yaml must be a file of settings"),
        ("--norm bm", "norm must be one of bn, gn, ln, none, ln_c, ln_chw, module:Class of your"),
        ("--nrom bn", "'nrom' is no setting of a run; there are epochs, seed, batch_size"),
        ("--seed", "seed must have at least one value"),
        ("--epochs 20", "epochs must be below 20"),
        ("--gpus 0.5", "--address and --gpus go with --engine ray"),
        ("--engine ray --workers 2", "--workers goes with --engine local"),
        ("--engine ray --notebooks", "--notebooks goes with --engine local"),
        ("--device tpu9", "device must be auto or one that this machine has"),
        ("--data nowhere", "no CIFAR-10 in nowhere"),
        ("--threads 10000", "threads must be a whole number from 1 to "),
        ("--out ~nosuchuser/x", "out must be a folder that is there or can be made"),
        ("--seed 9223372036854775808", "from 0 to 9,223,372,036,854,775,807; got 922337203685477"),
        ("--lr 1e308", "lr must be a number above 0 and below 1e+15; got 1e+308"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    result = invoke("sweep", *words.split())
    assert result.exit_code == 1 and message in result.output
    assert result.output.count("\n") == 1 and not list(tmp_path.iterdir())
