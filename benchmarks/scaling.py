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
from era8.records import atomic_write, claim, load_run, save_run
from era8.run import Run
from era8.sweep.cluster import sweep_cluster
from era8.sweep.grid import expand
from era8.sweep.local import sweep
from era8.sweep.work import Workspace, find_finished, train_apart
from era8.tables import load_runs

CELLS = 8  # few and short: what is measured does not depend on the training
IMAGES = 1_000


def measure(out: Path, data_dir: str = "") -> dict[str, Any]:
    """Return seconds per one for each part of the work, means of a few runs.

    Returns:
        ``local_seconds`` and ``ray_seconds``: from one one's end to the next one's, without the
        training, with one worker of one thread; ``test_seconds``: the part of it that is the test
        of the network; ``driver_seconds``: of the process that gathers, to lock a one and write
        its folder; ``read_seconds``: to read a record back, as a sweep that goes on does for each
        one; ``cell_bytes`` on disk, and ``data_bytes`` that each node holds.
    """
    torch.set_num_threads(1)
    data = load_data(data_dir, "cpu")
    runs = expand([{"seed": [f"0..{CELLS}"], "train_images": [IMAGES], "epochs": [1]}])
    record, model = train_apart(runs[0], data.take(IMAGES), lambda line: None)

    start = time.perf_counter()
    evaluate.measure(model, data)
    test = time.perf_counter() - start

    gathered, start = Workspace(out / "driver"), time.perf_counter()
    for one in runs:
        with claim(gathered.folder(one)) as folder:
            assert find_finished(one, gathered) is None
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
        # all processors for each one: one at a time
        "ray_seconds": _overhead(ray, partial(sweep_cluster, runs, ray, cpus=os.cpu_count() or 1)),
        "test_seconds": test,
        "driver_seconds": driver,
        "read_seconds": read,
        "cell_bytes": sum(p.stat().st_size for p in (out / "driver" / runs[0].name).iterdir()),
        "data_bytes": sum(s.images.nbytes + s.labels.nbytes for s in (data.train, data.test)),
    }


def _overhead(place: Workspace, run: Callable[..., dict[str, str]]) -> float:
    """Return the mean seconds from one record to the next that were not spent on training."""
    ends: list[tuple[str, float]] = []

    def log(one: Run, line: str) -> None:
        if not line:
            ends.append((one.name, time.perf_counter()))

    failed = run(log=log)
    assert not failed, failed
    training = sum(load_run(place.out / name).train_seconds for name, _ in ends[1:])
    return (ends[-1][1] - ends[0][1] - training) / (len(ends) - 1)  # the first one imports


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        text = json.dumps(measure(Path(folder)), indent=1)
    with atomic_write(SCALING) as path:
        path.write_text(text + "\n")
    print(text)
