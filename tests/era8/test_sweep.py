"""Grids of cells on one machine, and what can go wrong with them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import torch
from click.testing import CliRunner
from filelock import FileLock

from era8 import load_epochs, load_runs
from era8.__main__ import main
from era8.data import load_synthetic
from era8.notebooks import settings_of
from era8.recipe import OPTIMIZERS
from era8.records import CHECKPOINT, load_run
from era8.run import Run
from era8.sweep.grid import expand
from era8.sweep.local import sweep
from era8.sweep.plan import AT_WORK, SweepBar, say, share_threads, share_workers
from era8.sweep.work import (
    Workspace,
    find_finished,
    notebook_parameters,
    show,
    train,
    train_apart,
    unfinished,
)
from era8.tables import write_tables

ROOT = Path(__file__).parents[2]
QUICK = {"train_images": 200, "epochs": 2}
COMMAND = [sys.executable, "-m", "era8", "sweep", "--data", "synthetic", "--device", "cpu"]


def quiet(line):
    """Take a line of the log and say nothing."""


def place(folder, **options):
    return Workspace(folder, "synthetic", "cpu", **options)


def cells_of(**axes):
    return expand([QUICK | axes])


def start(folder, *words):
    """Start the command in a process of its own."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*COMMAND, *words], cwd=folder, text=True, **pipes)


def cells_at_work():
    """The processes of cells: children of the server that forks them."""
    children = psutil.Process().children(recursive=True)
    return [p for p in children if p.is_running() and p.ppid() != os.getpid()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A sweep of four cells by two workers, by the command."""
    folder = tmp_path_factory.mktemp("sweep")
    words = "--norm bn ln --seed 0..1 --train-images 200 --epochs 2 --workers 2 --out runs"
    process = start(folder, *words.split())
    output, errors = process.communicate(timeout=900)
    assert process.returncode == 0, errors
    return folder, output, errors


@pytest.mark.process
def test_every_cell_has_its_folder_and_its_record(finished):
    folder, output, errors = finished
    for cell in cells_of(norm=["bn", "ln"], seed="0..1"):
        names = {path.name for path in place(folder / "runs").folder(cell).iterdir()}
        assert names - {".lock"} == {"record.json", "history.csv", "weights.pt"}
        assert f"{cell.name}: epoch  2/2" in output and f"{cell.name}: end" in output
    assert "4 runs, 0 of them finished" in errors


@pytest.mark.process
def test_tables_have_a_row_per_run_and_per_epoch(finished):
    folder, *_ = finished
    assert len(load_runs(folder)) == 4 and len(load_epochs(folder)) == 8
    joined = load_epochs(folder).merge(load_runs(folder), on="folder")
    assert joined.groupby("norm").size().to_dict() == {"bn": 4, "ln": 4}
    lines = {n: (folder / "runs" / n).read_text().splitlines() for n in ("runs.csv", "epochs.csv")}
    assert len(lines["runs.csv"]) == 5 and len(lines["epochs.csv"]) == 9


def test_tables_are_read_and_written_by_one_process_at_a_time(tmp_path):
    """Else one that has read before another run ended may write over the table that has it."""
    (tmp_path / ".runs.1.partial.csv").write_text("left by one that was killed")
    thread = threading.Thread(target=write_tables, args=[tmp_path])
    with FileLock(tmp_path / ".lock"):
        thread.start()
        thread.join(0.1)
        assert thread.is_alive() and not list(tmp_path.glob("runs.csv"))
    thread.join()
    assert {path.name for path in tmp_path.iterdir()} - {".lock"} == {"runs.csv", "epochs.csv"}


@pytest.mark.process
def test_a_cell_is_the_same_run_alone_and_in_a_sweep(finished):
    folder, *_ = finished
    cell = cells_of(norm="ln", seed=1)[0]
    record, _ = train_apart(cell, load_synthetic("cpu", 200))
    there = load_run(place(folder / "runs").folder(cell))
    assert there.test_loss == pytest.approx(record.test_loss, rel=1e-3)
    assert (there.norm, there.seed, there.train_images) == ("ln", 1, 200)


@pytest.mark.process
def test_finished_cells_are_left_as_they_are(finished):
    folder, *_ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("record.json")}
    cells = cells_of(norm=["bn", "ln"], seed="0..1")
    assert unfinished(cells, place(folder / "runs")) == []
    assert sweep(cells, place(folder / "runs"), workers=2) == {}
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("record.json")}


@pytest.mark.process
def test_a_dry_run_lists_the_runs(finished):
    folder, *_ = finished
    words = "--norm bn gn --seed 0 --train-images 200 --epochs 2 --dry-run".split()
    options = ["--data", "synthetic", "--device", "cpu", "--out", str(folder / "runs")]
    result = CliRunner().invoke(main, ["sweep", *words, *options])
    assert result.exit_code == 0, result.output
    *rows, last = [line.split() for line in result.output.splitlines()]
    assert rows[0] == ["finished", "bn-seed=0-epochs=2-train_images=200"]
    assert rows[1] == ["open", "gn-seed=0-epochs=2-train_images=200"]
    assert " ".join(last) == "2 runs, 1 of them finished"
    assert not (folder / "runs" / rows[1][1]).exists()


@pytest.mark.process
def test_a_network_of_ones_own_is_a_setting_like_others(tmp_path):
    own = "from era8 import Session8Net\n\n\nclass Wide(Session8Net):\n    pass\n"
    for name in ("mine", "other"):
        (tmp_path / f"{name}.py").write_text(own)
    words = "--norm gn --train-images 200 --epochs 1 --out runs --model mine:Wide".split()
    output, errors = start(tmp_path, *words).communicate(timeout=300)
    name = "gn-seed=0-epochs=1-model=Wide-train_images=200-data=synthetic"
    assert load_run(tmp_path / "runs" / name).model == "mine:Wide", errors
    process = start(tmp_path, *words, "other:Wide")
    assert "different names; got mine:Wide and other:Wide" in process.communicate(timeout=300)[1]
    assert process.returncode == 1
    for text, model, what in (
        (own, "other:Wide", "model is mine:Wide, not other:Wide"),
        (own.replace("pass", "def __init__(self, *a):\n        super().__init__(*a)"), "mine:Wide",
         "holds a run of other code"),
    ):  # fmt: skip
        (tmp_path / "mine.py").write_text(text)
        process = start(tmp_path, *words[:-1], model)
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 1 and what in errors and errors.count("Error") == 1


@pytest.mark.process
def test_the_documented_norm_of_ones_own_goes_from_the_file_to_the_table(tmp_path):
    """Exactly as the page says, but on synthetic images."""
    page = (ROOT / "docs" / "sweeps.md").read_text().partition("## A norm of your own\n")[2]
    source, command = re.findall(r"```\w+\n(.*?)```", page, re.DOTALL)[:2]
    (tmp_path / "mine.py").write_text(source)
    python, *words = command.split()
    assert python == ".venv/bin/python" and source.count("\n") <= 13
    again = [sys.executable, *words, "--data", "synthetic", "--device", "cpu"]
    done = subprocess.run(again, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"mine:RMSNorm +\d+\.\d\d ± \d+\.\d\d +3\n", done.stdout)
    assert done.stdout.endswith("go on with: era8 report runs/sweep, which draws them\n")
    assert "`runs/sweep`" in page  # where it is, which the command does not say
    runs = load_runs(tmp_path / "runs" / "sweep")
    own = runs[runs.norm == "mine:RMSNorm"]
    assert len(runs) == 6 and len(own) == 3 and runs.n_parameters.nunique() == 2
    assert {Path(folder).name.split("-")[0] for folder in own.folder} == {"RMSNorm"}

    again.append("--dry-run")
    (tmp_path / "other.py").write_text(source)
    for text, more, message in (
        (source, ["other:RMSNorm"], "different names; got mine:RMSNorm and other:RMSNorm"),
        (source.replace("1e-5", "1e-3"), [], "holds a run of other code"),
    ):
        (tmp_path / "mine.py").write_text(text)
        done = subprocess.run([*again, "--norm", "mine:RMSNorm", *more], cwd=tmp_path,
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 1 and message in done.stderr


@pytest.mark.process
@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("class deep(Session8Net):\n    pass", "deep", "must not be called as one of era8's"),
        ("class Session8Net(era8.Session8Net):\n    pass", "Session8Net", "must not be called as"),
        ("import sys\nsys.exit(0)", "Wide", "model 'own:Wide' cannot be imported: 0"),
        ("x = [", "Wide", "cannot be imported: '.' was never closed"),
    ],
)
def test_a_network_of_ones_own_that_cannot_be_told_apart_is_refused(tmp_path, text, kind, message):
    (tmp_path / "own.py").write_text(f"import era8\nfrom era8 import Session8Net\n\n\n{text}\n")
    process = start(tmp_path, "--model", f"own:{kind}")
    assert re.search(message, process.communicate(timeout=300)[1]) and process.returncode == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.process
def test_a_network_of_ones_own_that_fixes_its_norm_is_recorded_as_what_it_is(tmp_path):
    own = (
        "from era8 import Session8Net\n\n\nclass Fixed(Session8Net):\n    def __init__(self, *a):\n"
    )
    (tmp_path / "mine.py").write_text(f"{own}        super().__init__('gn', False, 4)\n")
    words = "--norm bn ln --train-images 200 --epochs 1 --out runs --model mine:Fixed".split()
    for finished in (0, 1):
        process = start(tmp_path, *words)
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0 and f"1 runs, {finished} of them finished" in errors
    (run,) = load_runs(tmp_path / "runs").itertuples()
    assert (run.norm, run.skip, run.groups) == ("gn", False, 4)


@pytest.mark.process
def test_a_module_of_the_current_folder_is_not_taken_for_pythons_own(tmp_path):
    for name in ("random", "socket"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('executed')")
    command = [shutil.which("era8", path=os.path.dirname(sys.executable)), *COMMAND[3:]]
    words = "--train-images 200 --epochs 1 --out runs".split()
    done = subprocess.run([*command, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "executed" not in done.stderr + done.stdout, done.stderr


@pytest.mark.process
def test_a_long_tmpdir_is_no_obstacle(tmp_path):
    folder = tmp_path / ("x" * 90)
    folder.mkdir()
    words = "--train-images 200 --epochs 1 --out runs".split()
    done = subprocess.run(
        [*COMMAND, *words], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"TMPDIR": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0 and len(load_runs(tmp_path)) == 1, done.stderr


@pytest.mark.process
def test_sigterm_is_given_back(finished):
    before = signal.getsignal(signal.SIGTERM)
    words = f"--norm bn --train-images 200 --epochs 2 --dry-run --out {finished[0] / 'runs'}"
    assert CliRunner().invoke(main, [*COMMAND[3:], *words.split()]).exit_code == 0
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.process
def test_a_cell_that_diverges_is_reported_and_the_others_are_not_touched(tmp_path):
    cells = cells_of(lr=[1e9, 0.1])
    failed = sweep(cells, place(tmp_path), retries=5)
    assert list(failed) == [cells[0].name]
    assert failed[cells[0].name].startswith("FloatingPointError: the ")
    assert list(load_runs(tmp_path).lr) == [0.1]


@pytest.mark.process
def test_the_command_fails_if_a_cell_did(tmp_path):
    words = f"--lr 1e9 --batch-size 20 --train-images 200 --epochs 1 --out {tmp_path}".split()
    result = CliRunner().invoke(main, [*COMMAND[3:], *words])
    assert result.exit_code == 1 and "FloatingPointError" in result.output
    assert result.output.rstrip().endswith("Error: 1 of 1 runs failed")


@pytest.mark.process
def test_a_process_that_is_killed_is_tried_again_from_its_checkpoint(tmp_path):
    (cell,), killed, lines = cells_of(epochs=6), [], []

    def kill(_, line):
        lines.append(line[:9])
        if line.startswith("epoch  3/") and not killed:
            killed.extend(cells_at_work())
            for process in killed:
                process.kill()

    assert sweep([cell], place(tmp_path), log=kill) == {}
    assert killed and lines.count("epoch  1/") == 1 and lines[-2:] == ["epoch  6/", ""]


@pytest.mark.process
def test_a_process_that_always_dies_is_given_up(tmp_path):
    def kill(_, line):
        for process in cells_at_work() if line.startswith("epoch") else []:
            process.kill()

    (cell,) = cells_of(epochs=9)
    failed = sweep([cell], place(tmp_path), retries=1, log=kill)
    assert failed == {cell.name: "its process was killed by signal 9"}
    assert (place(tmp_path).folder(cell) / CHECKPOINT).exists()  # for whoever tries again


@pytest.mark.process
def test_a_sweep_that_is_stopped_goes_on_where_it_was(tmp_path):
    words = "--train-images 200 --epochs 9 --norm bn gn --workers 2 --out".split()
    process = start(tmp_path, *words, str(tmp_path))
    for line in process.stdout:
        if "epoch  3/" in line:
            break
    children = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "Error: stopped" in errors
    assert psutil.wait_procs(children, timeout=10)[1] == []
    assert load_runs(tmp_path).empty and list(tmp_path.rglob(CHECKPOINT))

    lines, cells = [], cells_of(epochs=9, norm=["bn", "gn"])
    assert sweep(cells, place(tmp_path), 2, log=lambda cell, line: lines.append(line[:9])) == {}
    assert lines.count("epoch  1/") < 2 and lines.count("epoch  9/") == lines.count("") == 2
    assert set(load_runs(tmp_path).norm) == {"bn", "gn"}


@pytest.mark.process
def test_ctrl_c_stops_the_processes(tmp_path):
    def stop(cell, line):
        if line == AT_WORK:
            return
        assert cells_at_work()
        for process in cells_at_work():  # their threads wait as they do here
            assert process.environ()["GOMP_SPINCOUNT"] == os.environ["GOMP_SPINCOUNT"]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(cells_of(epochs=9), place(tmp_path), log=stop)
    assert not cells_at_work() and list(tmp_path.rglob(CHECKPOINT))


@pytest.mark.process
def test_a_parent_that_is_killed_leaves_no_process(tmp_path):
    process = start(tmp_path, *"--train-images 200 --epochs 19".split())
    for line in process.stdout:
        if "epoch" in line:
            break
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate(timeout=60)
    assert psutil.wait_procs(children, timeout=30)[1] == []


@pytest.mark.process
def test_two_sweeps_on_one_folder_share_the_cells(tmp_path, monkeypatch):
    monkeypatch.setattr("era8.sweep.local.PAUSE", 0.1)
    cells, lines, failed = cells_of(seed="0..2", epochs=3), [], []

    def work():
        failed.append(sweep(cells, place(tmp_path), log=lambda cell, line: lines.append(line[:9])))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == [{}, {}] and len(load_runs(tmp_path)) == 3
    assert lines.count("epoch  3/") == 3  # each cell was trained once


@pytest.mark.process
def test_a_cell_that_another_process_trains_is_left_to_it(tmp_path, monkeypatch):
    monkeypatch.setattr("era8.sweep.local.PAUSE", 0.1)
    (cell,) = cells_of()
    place(tmp_path).folder(cell).mkdir()
    lock = FileLock(
        place(tmp_path).folder(cell) / ".lock", thread_local=False
    )  # the timer frees it
    lock.acquire()
    begin, lines = time.monotonic(), []
    threading.Timer(2.0, lock.release).start()
    assert sweep([cell], place(tmp_path), log=lambda cell, line: lines.append(line)) == {}
    assert time.monotonic() - begin >= 2.0 and len(load_runs(tmp_path)) == 1
    assert lines[0] == "waits: another process trains it" != lines[1]  # said once


def test_a_damaged_record_is_kept_and_the_cell_trained_again(tmp_path):
    (cell,) = cells_of(epochs=1)
    folder = place(tmp_path).folder(cell)
    folder.mkdir()
    (folder / "record.json").write_text('{"model": "Sess')
    (folder / "history.csv").write_text("epoch")
    with pytest.warns(UserWarning, match="left out: .* holds no readable record"):
        assert load_runs(tmp_path).empty
    train(cell, place(tmp_path), quiet)
    assert (folder / "aside-0-record.json").read_text() == '{"model": "Sess'
    assert (folder / "aside-0-history.csv").read_text() == "epoch"
    assert len(load_runs(tmp_path)) == 1


def test_synthetic_runs_have_no_more_pictures_than_there_are(tmp_path, monkeypatch):
    for module in ("data.load", "run"):
        monkeypatch.setattr(f"era8.{module}.SYNTHETIC_IMAGES", 150)
    (cell,) = cells_of(epochs=1)
    train(cell, place(tmp_path), quiet)
    assert find_finished(cell, place(tmp_path)).train_images == 150


def test_a_folder_that_may_not_be_read_stops_its_own_cell_alone(tmp_path):
    """A folder in the record's place is as good as a lack of rights, also for root."""
    cells = cells_of(epochs=1, seed=[0, 1])
    (place(tmp_path).folder(cells[0]) / "record.json").mkdir(parents=True)
    assert unfinished(cells, place(tmp_path)) == cells
    with pytest.raises(IsADirectoryError):
        train(cells[0], place(tmp_path), quiet)


@pytest.mark.process
def test_a_sweep_whose_record_cannot_be_read_has_failed(finished, tmp_path, monkeypatch):
    shutil.copytree(finished[0] / "runs", tmp_path, dirs_exist_ok=True)
    (damaged,) = cells_of(norm="ln", seed=1)
    path = place(tmp_path).folder(damaged) / "history.csv"
    path.write_text(path.read_text().replace("1", "2", 1))
    monkeypatch.setattr(
        "era8.sweep.local.sweep", lambda *args, **options: {}
    )  # it has trained nothing
    words = "--norm bn ln --seed 0..1 --train-images 200 --epochs 2 --out".split()
    with pytest.warns(UserWarning, match="left out: .* history.csv is not the file"):
        result = CliRunner().invoke(main, [*COMMAND[3:], *words, str(tmp_path)])
    assert result.exit_code == 1
    assert f"{damaged.name}: its record cannot be read\nError: 1 of 4 runs failed" in result.output


def test_what_a_killed_writer_left_is_cleared(tmp_path):
    (cell,) = cells_of(epochs=1)
    folder = place(tmp_path).folder(cell)
    folder.mkdir()
    (folder / ".checkpoint.123.partial.pt").write_text("half")
    train(cell, place(tmp_path), quiet)
    assert not list(folder.glob("*partial*")) and not list(folder.glob(".*partial*"))


@pytest.mark.process
def test_the_record_of_another_run_is_not_touched(tmp_path):
    cells = cells_of(epochs=1)
    train(cells[0], place(tmp_path), quiet)
    path = place(tmp_path).folder(cells[0]) / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"lr": 1.0}))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="holds the record of another run .lr is 1"):
        find_finished(cells[0], place(tmp_path))
    failed = sweep(cells, place(tmp_path))
    assert "move it away" in failed[cells[0].name] and path.read_bytes() == before
    assert find_finished(cells[0], Workspace(tmp_path)) is None  # CIFAR-10 has a folder of its own


def test_a_record_of_other_first_weights_is_another_run(tmp_path):
    cells = cells_of(init=["torch", "he"], epochs=1)
    train(cells[1], place(tmp_path), quiet)
    assert find_finished(cells[1], place(tmp_path)).init == "he"
    place(tmp_path).folder(cells[1]).rename(place(tmp_path).folder(cells[0]))
    with pytest.raises(ValueError, match="holds the record of another run .init is he, not torch"):
        find_finished(cells[0], place(tmp_path))


def test_a_folder_that_vanishes_is_made_again(tmp_path):
    (cell,) = cells_of(epochs=3)

    def vanish(line):
        if line.startswith("epoch  2/"):
            shutil.rmtree(place(tmp_path).folder(cell))

    train(cell, place(tmp_path), vanish)
    assert len(load_runs(tmp_path)) == 1


def test_a_full_disk_leaves_nothing_half_written(tmp_path):
    """A limit on the size of files stands for a full disk: the system refuses to write more."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            train(cells_of(epochs=1)[0], place(tmp_path), quiet)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [".lock"]


def test_a_clock_that_jumps_changes_nothing(tmp_path, monkeypatch):
    jumps = iter([1e9, -1e9] * 10_000)
    monkeypatch.setattr(time, "time", lambda: 1.7e9 + next(jumps))
    (cell,) = cells_of()
    train(cell, place(tmp_path), quiet)
    assert 0 < load_run(place(tmp_path).folder(cell)).train_seconds < 120


def test_data_that_changes_on_disk_stops_the_next_cell(cifar_folder, tmp_path):
    cells = expand([{"train_images": 50, "batch_size": 10, "epochs": 1, "seed": [0, 1]}])
    there = Workspace(tmp_path / "runs", str(cifar_folder), "cpu")
    file = cifar_folder / "cifar-10-batches-py" / "data_batch_3"

    def damage(line):
        content = bytearray(file.read_bytes())
        content[100] ^= 1
        file.write_bytes(content)

    train(cells[0], there, damage)  # it has read its images, and ends
    with pytest.raises(RuntimeError, match="data_batch_3 is damaged"):
        train(cells[1], there, quiet)
    assert list(load_runs(tmp_path).seed) == [0]


@pytest.mark.process
def test_a_cell_as_a_notebook(tmp_path):
    (cell,) = cells_of(norm="gn", groups=4, epochs=1)
    where, lines = place(tmp_path), []
    assert sweep([cell], where) == {}
    record = where.folder(cell) / "record.json"
    before = record.stat().st_mtime_ns
    log = lambda _, line: lines.append(line)  # noqa: E731
    assert sweep([cell], where, log=log, task=show) == {}
    assert where.notebook(cell).exists() and record.stat().st_mtime_ns == before
    assert set(lines) <= {"", AT_WORK}  # it found its run trained
    assert find_finished(cell, where).groups == 4


@pytest.mark.process
def test_a_notebook_that_diverges_is_not_tried_again(tmp_path):
    (cell,), lines = cells_of(lr=1e9, batch_size=20, epochs=1), []
    failed = sweep([cell], place(tmp_path), log=lambda *line: lines.append(line), task=show)
    assert failed[cell.name].startswith(
        "RunError: batch_norm.ipynb stopped with FloatingPointError"
    )
    assert [line for line in lines if line[1] != AT_WORK] == [(cell, "")]


@pytest.mark.process
def test_what_is_long_silent_is_said_to_be_at_work(tmp_path, monkeypatch):
    monkeypatch.setattr("era8.sweep.local.PULSE", -1.0)  # every moment is too long
    (cell,), lines = cells_of(epochs=1), []
    assert sweep([cell], place(tmp_path), log=lambda cell, line: lines.append(line)) == {}
    assert AT_WORK in lines and lines[-1] == ""


def test_lines_that_break_a_silence_do_not_make_a_noise(capsys):
    one, other = cells_of(seed=[0, 1], epochs=9)
    with SweepBar([one, other]) as bar:
        bar.show(one, "epoch  3/9   40 %")
        bar.show(other, "epoch  1/9    4 %")
        bar.show(other, AT_WORK)
        bar.show(other, "epoch  1/9  loss 1  9.1 s")
    lines = f"{one.name}: epoch  3/9   40 %\n{other.name}: epoch  1/9  loss 1  9.1 s\n"
    assert capsys.readouterr().out == lines


def test_the_bar_follows_a_cell_that_goes_on(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    cells = cells_of(seed=[0, 1], epochs=9)
    with SweepBar(cells) as bar:
        bar.show(cells[0], "epoch  7/9  loss 1")
        assert bar.n == 7 * 200
        bar.show(cells[0], "epoch  8/9   50 %")
        assert bar.n == 7.5 * 200
        bar.show(cells[0], "epoch  7/9, evaluation   50 %")
        bar.show(cells[0], AT_WORK)
        bar.show(cells[0], "waits: why")
        assert bar.n == 7.5 * 200 and capsys.readouterr().out == f"{cells[0].name}: waits: why\n"
        bar.show(cells[0], "epoch  7/9  loss 1")  # begun again by another process
        bar.show(cells[0], "")
        bar.show(cells[1], "")
        assert bar.n == bar.total == 2 * 9 * 200


def test_a_notebook_that_cannot_take_a_setting_is_refused_before_anything_starts(tmp_path):
    for axes, message in [
        ({"momentum": 0.8}, "'momentum' is not a parameter of batch_norm.ipynb"),
        ({"norm": "none"}, "norm must be one of bn, gn, ln; got 'none'"),
    ]:
        with pytest.raises(ValueError, match=message):
            notebook_parameters(cells_of(**axes)[0], place(tmp_path), {})
    assert not list(tmp_path.iterdir())


def test_parameters_of_a_notebook(tmp_path):
    (cell,) = cells_of(norm="gn", skip=False)
    given = notebook_parameters(cell, place(tmp_path), {"compare_skip": False})
    known = {name: v for name, v in cell.settings.items() if given.get(name) is not None}
    assert all(given[name] == value for name, value in known.items())
    assert given["device"] == "cpu" and given["data_dir"] == "synthetic"
    assert given["compare_skip"] is False


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_notebook_is_given_the_learning_rate_whichever_optimizer_has_it(tmp_path, optimizer):
    """One that is Muon's own is not what the notebook takes by itself with another optimizer."""
    for lr, weight_decay in [(0.05, 1e-4), (0.1, 0.01)]:
        (run,) = cells_of(optimizer=optimizer, lr=lr, weight_decay=weight_decay)
        given = notebook_parameters(run, place(tmp_path), {})
        assert Run(**settings_of("bn", given)).difference(run) == {}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("nowhere.yaml", "nowhere.yaml must be a file of settings"),
        (
            "--norm bm",
            "norm must be one of bn, gn, ln, none, ln_c, ln_chw, module:Class of your own; got",
        ),
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
    result = CliRunner().invoke(main, ["sweep", *words.split()])
    assert result.exit_code == 1 and message in result.output
    assert result.output.count("\n") == 1 and not list(tmp_path.iterdir())


@pytest.mark.process
@pytest.mark.parametrize("closed", [False, True])
def test_a_dry_run_whose_output_nobody_reads_ends_well(finished, monkeypatch, closed):
    """Its reader has gone, as ``| head -1`` does, or a shell has closed it, as ``>&- 2>&-``."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as gone:
        for name in ("stdin", "stdout", "stderr"):
            monkeypatch.setattr(sys, name, None if closed else gone)
        words = "--norm bn ln --train-images 200 --epochs 2 --dry-run --out".split()
        main([*COMMAND[3:], *words, str(finished[0] / "runs")], standalone_mode=False)
    names = [os.devnull] * 2 if closed else [gone.name] * 2
    assert [sys.stdout.name, sys.stderr.name] == names


def test_a_reader_that_has_gone_stops_nothing():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as gone:
        say("epoch  1/2", gone)
        say("epoch  2/2", gone)


def test_threads_are_shared():
    cores = share_threads(1)
    assert cores >= 1 and share_threads(cores) == 1 and share_threads(10 * cores) == 1


def test_workers_are_as_many_as_there_are_cores_for(monkeypatch):
    cores = share_threads(1)
    assert share_workers("auto", 1, "cpu") == 1
    assert share_workers("auto", 10 * cores, "cpu") == cores
    assert share_workers("3", 5, "cpu") == share_workers("5", 3, "cpu") == 3
    monkeypatch.setattr("era8.sweep.plan.choose_device", torch.device)
    assert share_workers("auto", 3, "cuda") == 1


@pytest.mark.process
def test_records_are_json_that_others_can_read(finished):
    folder, *_ = finished
    for path in folder.rglob("record.json"):
        assert json.loads(path.read_text())["data"] == "synthetic"
