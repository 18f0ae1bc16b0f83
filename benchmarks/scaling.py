"""What a sweep costs beyond training: python -m benchmarks.scaling, on a machine that is free.

Writes results/scaling.json, from which docs/speed.md says what a cluster would give.
"""

import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks import SCALING
from era8 import evaluate
from era8.data import load_data
from era8.device import device_name, versions
from era8.disk import atomic_write, claim
from era8.records import load_run, save_run
from era8.run import Run
from era8.sweep.cluster import sweep_cluster
from era8.sweep.grid import expand
from era8.sweep.local import sweep
from era8.sweep.work import Workspace, find_finished, train_apart
from era8.tables import load_runs

RUNS = 8  # few and short: what is measured does not depend on the training
IMAGES = 1_000


def measure(out: Path, data_dir: str = "") -> dict[str, Any]:
    """Return the seconds that each part of the work takes per run, means of a few runs.

    Returns:
        ``local_seconds`` and ``ray_seconds``: from the end of a run to that of the next one,
        without the training, with one worker of one thread; ``test_seconds``: the part of it that
        is the test of the network; ``driver_seconds``: of the process that gathers, to lock a
        folder and write a run into it; ``read_seconds``: to read a record back, as a sweep that
        resumes does for each run; ``cell_bytes`` of a run on disk, and ``data_bytes`` that each
        node holds.
    """
    torch.set_num_threads(1)
    data = load_data(data_dir, "cpu")
    runs = expand([{"seed": [f"0..{RUNS}"], "train_images": [IMAGES], "epochs": [1]}])
    record, model = train_apart(runs[0], data.take(IMAGES), lambda line: None)

    start = time.perf_counter()
    evaluate.measure(model, data)
    test = time.perf_counter() - start

    gathered, start = Workspace(out / "driver"), time.perf_counter()
    for run in runs:
        with claim(gathered.folder(run)) as folder:
            assert find_finished(run, gathered) is None
            save_run(folder, record, model)
    driver = (time.perf_counter() - start) / len(runs)
    start = time.perf_counter()
    load_runs(out / "driver")
    read = (time.perf_counter() - start) / len(runs)

    local, ray = (Workspace(out / name, data_dir, "cpu") for name in ("local", "ray"))
    return {
        "device": device_name(data.device),
        "versions": versions(),
        "local_seconds": _overhead(local, partial(sweep, runs, local)),
        # all processors for each run: one at a time
        "ray_seconds": _overhead(ray, partial(sweep_cluster, runs, ray, cpus=os.cpu_count() or 1)),
        "test_seconds": test,
        "driver_seconds": driver,
        "read_seconds": read,
        "cell_bytes": sum(p.stat().st_size for p in (out / "driver" / runs[0].name).iterdir()),
        "data_bytes": sum(s.images.nbytes + s.labels.nbytes for s in (data.train, data.test)),
    }


def _overhead(workspace: Workspace, train_all: Callable[..., dict[str, str]]) -> float:
    """Return the mean seconds from one record to the next that were not spent on training."""
    ends: list[tuple[str, float]] = []

    def log(run: Run, line: str) -> None:
        if not line:
            ends.append((run.name, time.perf_counter()))

    failed = train_all(log=log)
    assert not failed, failed
    training = sum(load_run(workspace.out / name).train_seconds for name, _ in ends[1:])
    return (ends[-1][1] - ends[0][1] - training) / (len(ends) - 1)  # the first imports


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        text = json.dumps(measure(Path(folder)), indent=1)
    with atomic_write(SCALING) as path:
        path.write_text(text + "\n")
    print(text)
