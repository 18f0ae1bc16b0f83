"""Trainings and commands that are killed at any moment and repeated end as one left alone."""

import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL"),
]

# A process is a fork of one that has imported all, so that a try costs no start; papermill is stood
# in for by what a notebook does to a folder.
KILLS = """
import json, multiprocessing, os, random, shutil, signal, sys, time, traceback
from pathlib import Path
import papermill
import torch
import torch._dynamo  # else each fork would, and be killed before it trains
from papermill.exceptions import PapermillExecutionError
from era8 import Recipe, Session8Net, fit_in
from era8.data import load_synthetic
from era8.device import versions
from era8.disk import BusyError
from era8.records import load_run, save_figures
from era8.sweep import local
from era8.sweep.work import Workspace, show
from era8.sweep.grid import expand
from era8.tables import write_tables

QUICK, LONG = {"epochs": 12, "batch_size": 20}, {"epochs": 19, "batch_size": 20}
NAMES = {"bn": "batch", "gn": "group"}
local.PAUSE, local.prepare_processes = 0.05, lambda: multiprocessing.get_context("fork")
torch.set_num_threads(1)
versions()  # asks git, once for all

def train(kind, norm, out):
    if kind in ("fit_in", "long"):
        torch.manual_seed(0)
        data = load_synthetic("cpu", 100 if kind == "long" else 20)
        model = Session8Net(norm, groups=1 + (norm == "gn"))
        return fit_in(out, model, data, Recipe(**(LONG if kind == "long" else QUICK)))
    runs = expand([QUICK | {"train_images": 20, "norm": [norm]}])
    workspace = Workspace(out, "synthetic", "cpu")
    failed = local.sweep(runs, workspace)
    if kind == "run":
        failed |= local.sweep(runs, workspace, task=show)
    assert not failed, failed
    write_tables(out)

class Figure:
    def savefig(self, path, **options):
        path.write_text("drawn")

def execute(source, executed, parameters, **options):
    try:
        _, folder = train("fit_in", "gn" if "group" in source else "bn", parameters["out_dir"])
    except BusyError as error:
        raise PapermillExecutionError(0, 0, "", "BusyError", str(error), []) from None
    save_figures(folder, {"curves": Figure()})
    Path(executed).write_text("run")

papermill.execute_notebook = execute

def start(*words):
    if pid := os.fork():
        return pid
    try:
        os.setsid()
        train(*words)
        os._exit(0)
    except BusyError:
        os._exit(3)
    except BaseException:
        traceback.print_exc()
        os._exit(1)

def end(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def read(folder):
    record, files = vars(load_run(folder)), {"record.json", "history.csv", "weights.pt", ".lock"}
    free = {"started", "train_seconds", "sha256"}
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in record["history"]]
    left = {path.name for path in folder.iterdir()} - files
    assert left <= {"curves.png", f"{NAMES[record['norm']]}_norm.ipynb"}, left
    kept = {k: v for k, v in record.items() if k not in free} | {"history": rows}
    return json.dumps(kept), (folder / "weights.pt").read_bytes()

def kill_one_run(out):  # at a random moment, and every second time as it writes
    assert end(start("long", "bn", out / "alone")) == 0
    (alone,), draw = (out / "alone").iterdir(), random.Random(0)
    killed, in_writing, folder = 0, 0, out / "killed" / alone.name
    while killed < 20:
        pid = start("long", "bn", out / "killed")
        if killed % 2:
            deadline = time.monotonic() + 20
            while not any(folder.glob(".*partial*")) and time.monotonic() < deadline:
                pass
            in_writing += any(folder.glob(".*partial*"))
        else:
            time.sleep(draw.uniform(0.01, 0.4))
        os.kill(pid, signal.SIGKILL)
        code = end(pid)
        assert code in (0, -signal.SIGKILL), code
        killed += code != 0
        if not code:  # it was faster: begin again
            shutil.rmtree(folder)
    assert end(start("long", "bn", out / "killed")) == 0 and read(folder) == read(alone)
    return in_writing

def kill_two_commands(out):  # for one run or two, in one folder or two; half with their children
    for norm in NAMES:
        assert end(start("fit_in", norm, out / "alone")) == 0
    alone = {folder.name: read(folder) for folder in (out / "alone").iterdir()}
    killed = 0
    for case in (1, 2):
        draw, base = random.Random(case), out / str(case)
        pairs = [
            (draw.choice(["fit_in", "sweep", "run"]), draw.choice(["bn", "bn", "gn"]), base / name)
            for name in ("x", draw.choice("xxy"))
        ]
        pids = [start(*words) for words in pairs]
        for pid in pids:
            time.sleep(draw.uniform(0, 0.3))
            os.killpg(pid, signal.SIGKILL) if draw.random() < 0.5 else os.kill(pid, signal.SIGKILL)
        killed += sum(end(pid) == -signal.SIGKILL for pid in pids)
        while pairs:  # what a sweep left behind ends by itself, and is waited for
            codes = [end(pid) for pid in [start(*words) for words in pairs]]
            assert set(codes) <= {0, 3}, (case, pairs, codes)
            pairs = [words for words, code in zip(pairs, codes) if code]
        for folder in base.iterdir():
            loose = {path.name for path in folder.iterdir() if path.is_file()}
            assert loose <= {"runs.csv", "epochs.csv", ".lock"}, loose
            for run in (path for path in folder.iterdir() if path.is_dir()):
                assert read(run) == alone[run.name], (case, run)
    return killed

print(globals()[sys.argv[1]](Path(sys.argv[2])))
"""


@pytest.mark.parametrize(("kill", "least"), [("kill_one_run", 1), ("kill_two_commands", 2)])
def test_what_is_killed_and_repeated_is_as_if_left_alone(tmp_path, kill, least):
    command = [sys.executable, "-c", KILLS, kill, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0 and "Traceback" not in result.stderr, result.stderr
    assert int(result.stdout.splitlines()[-1]) >= least
