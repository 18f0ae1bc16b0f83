"""What can go wrong with a sweep on one machine, and costs at most the run that it happens to."""

import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from functools import partial

import pytest
from filelock import FileLock
from support import SWEEP, edit_record, invoke, place, quiet, runs_of

from era8 import load_runs
from era8.disk import CHECKPOINT
from era8.records import load_run
from era8.sweep.grid import expand
from era8.sweep.local import sweep
from era8.sweep.work import Workspace, find_finished, train, unfinished

pytestmark = pytest.mark.usefixtures("forks")


def die(run, workspace, log, after="epoch"):
    """Train in a process that is killed after an epoch, whichever it is if none is named."""

    def tell(line):
        log(line)
        if line.startswith(after) and "loss" in line:
            os.kill(os.getpid(), signal.SIGKILL)

    train(run, workspace, tell)


def test_a_run_that_diverges_is_reported_and_the_others_are_not_touched(tmp_path):
    words = "--lr 1e9 0.1 --batch-size 20 --train-images 200 --epochs 1 --out".split()
    result = invoke(*SWEEP, *words, tmp_path)
    assert result.exit_code == 1 and ": FloatingPointError: the " in result.output
    assert result.output.endswith("Error: 1 of 2 runs failed\n")
    assert list(load_runs(tmp_path).lr) == [0.1]


def test_a_process_that_is_killed_is_tried_again_from_its_checkpoint(tmp_path):
    lines, task = [], partial(die, after="epoch  3/")
    log = lambda _, line: lines.append(line)  # noqa: E731
    assert sweep(runs_of(epochs=6), place(tmp_path), log=log, task=task) == {}
    assert [line[:9] for line in lines if "loss" in line] == [f"epoch {n:2d}/" for n in range(1, 7)]


def test_a_process_that_always_dies_is_given_up_and_each_time_the_log_says_why(tmp_path):
    (run,), lines, why = runs_of(epochs=9), [], "its process was killed by signal 9"
    log = lambda _, line: lines.append(line)  # noqa: E731
    failed = sweep([run], place(tmp_path), retries=1, log=log, task=die)
    assert failed == {run.name: why}
    said = [line for line in lines if not line.startswith("epoch")]
    assert said == [f"is tried again: {why}", f"failed: {why}"]
    assert (place(tmp_path).folder(run) / CHECKPOINT).exists()  # for whoever tries again


def test_ctrl_c_stops_the_processes(tmp_path):
    def stop(_, line):
        if "loss" in line:
            assert multiprocessing.active_children()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(runs_of(epochs=9, train_images=2000), place(tmp_path), log=stop)
    assert not multiprocessing.active_children() and list(tmp_path.rglob(CHECKPOINT))


def test_a_run_that_another_process_trains_is_left_to_it(tmp_path):
    (run,), lines = runs_of(), []
    folder = place(tmp_path).folder(run)
    folder.mkdir()
    lock = FileLock(folder / ".lock", thread_local=False)  # the timer frees it

    def log(_, line):
        if not lines:
            threading.Timer(0.5, lock.release).start()
        lines.append(line)

    with lock:
        assert sweep([run], place(tmp_path), log=log) == {}
    assert lines[0] == "waits: another process trains it" != lines[1]  # said once
    assert len(load_runs(tmp_path)) == 1


def test_a_folder_that_may_not_be_read_stops_its_own_run_alone(tmp_path):
    """A folder in the record's place is as good as a lack of rights, also for root."""
    runs = runs_of(epochs=1, seed=[0, 1])
    (place(tmp_path).folder(runs[0]) / "record.json").mkdir(parents=True)
    assert unfinished(runs, place(tmp_path)) == runs
    with pytest.raises(IsADirectoryError):
        train(runs[0], place(tmp_path), quiet)


def test_the_record_of_another_run_is_not_touched(tmp_path):
    (run,) = runs_of(epochs=1)
    train(run, place(tmp_path), quiet)
    path = place(tmp_path).folder(run) / "record.json"
    edit_record(path.parent, lr=1.0)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="holds the record of another run .lr is 1"):
        find_finished(run, place(tmp_path))
    failed = sweep([run], place(tmp_path))
    assert "move it away" in failed[run.name] and path.read_bytes() == before
    assert find_finished(run, Workspace(tmp_path)) is None  # CIFAR-10 has a folder of its own


def test_a_folder_that_vanishes_is_made_again(tmp_path):
    (run,) = runs_of(epochs=3)

    def vanish(line):
        if line.startswith("epoch  2/"):
            shutil.rmtree(place(tmp_path).folder(run))

    train(run, place(tmp_path), vanish)
    assert len(load_runs(tmp_path)) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="needs a fork, which has the limit")
def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(tmp_path):
    """A limit on the size of files stands for a full disk: the system refuses to write more."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        words = "--train-images 200 --epochs 1 --retries 0 --out".split()
        result = invoke(*SWEEP, *words, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert result.exit_code == 1 and result.stderr.count("File too large") == 1
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {".lock", "runs.csv", "epochs.csv"}


def test_a_clock_that_jumps_changes_nothing(tmp_path, monkeypatch):
    jumps = iter([1e9, -1e9] * 10_000)
    monkeypatch.setattr(time, "time", lambda: 1.7e9 + next(jumps))
    (run,) = runs_of()
    train(run, place(tmp_path), quiet)
    assert 0 < load_run(place(tmp_path).folder(run)).train_seconds < 120


def test_data_that_changes_on_disk_stops_the_next_run(cifar_folder, tmp_path):
    runs = expand([{"train_images": 50, "batch_size": 10, "epochs": 1, "seed": [0, 1]}])
    there = Workspace(tmp_path / "runs", str(cifar_folder), "cpu")
    file = cifar_folder / "cifar-10-batches-py" / "data_batch_3"

    def damage(line):
        content = bytearray(file.read_bytes())
        content[100] ^= 1
        file.write_bytes(content)

    train(runs[0], there, damage)  # it has read its images, and ends
    with pytest.raises(RuntimeError, match="data_batch_3 is damaged"):
        train(runs[1], there, quiet)
    assert list(load_runs(tmp_path).seed) == [0]
