"""Sweeps by the command itself, stopped and killed, and the notebooks of a sweep."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from support import SWEEP, command, place, runs_of, start

from era8 import load_runs
from era8.disk import CHECKPOINT
from era8.sweep.local import sweep
from era8.sweep.work import find_finished, show

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[2]
ONE = [*SWEEP, *"--train-images 200 --epochs 1 --out runs".split()]


def wait_for(process, text):
    """Return the processes below a command's, once it has said something."""
    for line in process.stdout:
        if text in line:
            break
    return psutil.Process(process.pid).children(recursive=True)


def test_a_sweep_that_is_stopped_goes_on_where_it_was(tmp_path):
    words = "--train-images 600 --epochs 9 --norm bn gn --workers 2 --out".split()
    process = start(tmp_path, *SWEEP, *words, tmp_path)
    children = wait_for(process, "epoch  3/")
    for child in children:  # their threads wait as they do here
        assert child.environ()["GOMP_SPINCOUNT"] == os.environ["GOMP_SPINCOUNT"]
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "Error: stopped" in errors
    assert psutil.wait_procs(children, timeout=10)[1] == []
    assert load_runs(tmp_path).empty and list(tmp_path.rglob(CHECKPOINT))

    code, output, errors = command(tmp_path, *SWEEP, *words, tmp_path)
    assert code == 0 and output.count("epoch  1/9  loss") < 2, errors
    assert output.count("epoch  9/9  loss") == output.count(": finished\n") == 2
    assert set(load_runs(tmp_path).norm) == {"bn", "gn"}


def test_a_parent_that_is_killed_leaves_no_process(tmp_path):
    process = start(tmp_path, *SWEEP, *"--train-images 200 --epochs 19".split())
    children = wait_for(process, "epoch")
    process.kill()
    process.communicate(timeout=60)
    assert psutil.wait_procs(children, timeout=30)[1] == []


def test_the_documented_norm_of_ones_own_goes_from_the_file_to_the_table(tmp_path):
    """Exactly as the page says, but on synthetic images."""
    page = (ROOT / "docs" / "sweeps.md").read_text().partition("## A norm of your own\n")[2]
    source, text = re.findall(r"```\w+\n(.*?)```", page, re.DOTALL)[:2]
    (tmp_path / "mine.py").write_text(source)
    python, *words = text.split()
    assert (python, words[:2]) == (".venv/bin/python", ["-m", "era8"]) and source.count("\n") <= 13
    words = [*words[2:], "--data", "synthetic", "--device", "cpu"]
    code, output, errors = command(tmp_path, *words)
    assert code == 0, errors
    assert re.search(r"mine:RMSNorm +\d+\.\d\d ± \d+\.\d\d +3\n", output)
    assert output.endswith("go on with: era8 report runs/sweep, which draws them\n")
    assert "`runs/sweep`" in page  # where it is, which the command does not say
    runs = load_runs(tmp_path / "runs" / "sweep")
    own = runs[runs.norm == "mine:RMSNorm"]
    assert len(runs) == 6 and len(own) == 3 and runs.n_parameters.nunique() == 2
    assert {Path(folder).name.split("-")[0] for folder in own.folder} == {"RMSNorm"}


def test_a_module_of_the_current_folder_is_not_taken_for_pythons_own(tmp_path):
    for name in ("random", "socket"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('executed')")
    installed = shutil.which("era8", path=os.path.dirname(sys.executable))
    done = subprocess.run([installed, *ONE], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "executed" not in done.stderr + done.stdout, done.stderr


def test_a_long_tmpdir_is_no_obstacle(tmp_path):
    folder = tmp_path / ("x" * 90)
    folder.mkdir()
    code, _, errors = command(tmp_path, *ONE, env={"TMPDIR": str(folder)})
    assert code == 0 and len(load_runs(tmp_path)) == 1, errors


def test_a_run_as_a_notebook(tmp_path):
    (run,) = runs_of(norm="gn", groups=4, epochs=1)
    where, lines = place(tmp_path), []
    assert sweep([run], where) == {}
    record = where.folder(run) / "record.json"
    before = record.stat().st_mtime_ns
    assert sweep([run], where, log=lambda _, line: lines.append(line), task=show) == {}
    assert where.notebook(run).exists() and record.stat().st_mtime_ns == before
    assert lines == ["finished"]  # it found its run trained
    assert find_finished(run, where).groups == 4


def test_a_notebook_that_diverges_is_not_tried_again(tmp_path):
    (run,), lines = runs_of(lr=1e9, batch_size=20, epochs=1), []
    failed = sweep([run], place(tmp_path), log=lambda *line: lines.append(line), task=show)
    message = "RunError: batch_norm.ipynb stopped with FloatingPointError"
    assert failed[run.name].startswith(message)
    assert lines == [(run, f"failed: {failed[run.name]}")]
