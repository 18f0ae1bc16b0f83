"""What the tests of several files are made of: small networks, small grids, and commands."""

import json
import math
import os
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context

import pytest
import torch
from click.testing import CliRunner

from era8 import Session8Net
from era8.__main__ import main
from era8.sweep.grid import expand
from era8.sweep.work import Workspace

SWEEP = "sweep --data synthetic --device cpu".split()


def quiet(*line):
    """Take a line of the log and say nothing."""


def stop_after(epoch):
    """A log that stops a training after an epoch, as Ctrl-C would."""

    def log(line):
        if line.startswith(f"epoch {epoch:2d}/") and "loss" in line:
            raise KeyboardInterrupt

    return log


def make(*args, **settings):
    """A network with the first weights of seed 0."""
    torch.manual_seed(0)
    return Session8Net(*args, **settings)


def same_weights(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def without_times(record):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in record.history]


def edit_record(folder, **values):
    path = folder / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def runs_of(**axes):
    """The runs of a grid, of 200 images and two epochs if nothing else is said."""
    return expand([{"train_images": 200, "epochs": 2} | axes])


def place(folder):
    return Workspace(folder, "synthetic", "cpu")


def invoke(*words):
    """Run a command in this process; what it says does not depend on how long it takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("era8.progress.PULSE", math.inf)
        return CliRunner().invoke(main, [str(word) for word in words])


def start(folder, *words, **options):
    """Start a command in a process of its own."""
    command = [sys.executable, "-m", "era8", *map(str, words)]
    environment = os.environ | options.pop("env", {})
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environment, **pipes, **options)


def command(folder, *words, **options):
    """Run a command in a process of its own; return its exit code and what it printed."""
    process = start(folder, *words, **options)
    output, errors = process.communicate(timeout=900)
    return process.returncode, output, errors


@contextmanager
def forked():
    """Let a sweep fork this process, which has imported all, where a fork is safe."""
    with pytest.MonkeyPatch.context() as patch:
        if sys.platform == "linux" and not torch.cuda.is_available():
            for module in ("era8.sweep", "era8.sweep.local"):
                patch.setattr(f"{module}.prepare_processes", partial(get_context, "fork"))
        patch.setattr("era8.sweep.local.PAUSE", 0.1)
        yield
