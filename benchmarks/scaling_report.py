"""What a cluster would give for a large grid, from what was measured on one machine."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from era8.records import Record

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "scaling.json"  # written by python -m benchmarks.scaling
CELLS = 10_000
WORKERS = (1, 10, 100, 1_000)
FAST_CELL = 10.0  # seconds of a cell that are assumed for a GPU; no GPU was measured


def sweep_seconds(workers: int, training: float, measured: dict[str, Any]) -> float:
    """Return how long ``CELLS`` cells take: the workers' time, or the gathering process's."""
    cell = training + measured["ray_seconds"]
    return CELLS * max(cell / workers, measured["driver_seconds"])


def render(records: Iterable[Record], path: Path = RESULTS) -> str:
    """Return the README's section on scaling.

    Args:
        records: runs whose mean training time stands for that of a cell.
        path: what was measured.
    """
    measured = json.loads(path.read_text())
    seconds = [record.train_seconds for record in records]
    training, driver = sum(seconds) / len(seconds), measured["driver_seconds"]
    lines = [
        f"Here ({measured['device']}) a cell costs {measured['local_seconds']:.1f} s beyond its "
        f"training (to test the network alone takes {measured['test_seconds']:.1f} s with one "
        f"thread), and {measured['ray_seconds']:.1f} s with Ray, whose processes stay. At best a "
        f"grid of {CELLS:,} cells would take:",
        "",
        f"| workers | {_time(training)} a cell, as above | {_time(FAST_CELL)} a cell (assumed) |",
        "|---:|---:|---:|",
    ]
    for workers in WORKERS:
        times = [_time(sweep_seconds(workers, t, measured)) for t in (training, FAST_CELL)]
        lines.append(f"| {workers:,} | {times[0]} | {times[1]} |")
    limits = [f"{(t + measured['ray_seconds']) / driver:,.0f}" for t in (training, FAST_CELL)]
    disk, images = CELLS * measured["cell_bytes"] / 1e9, measured["data_bytes"] / 1e6
    lines += [
        "",
        "A worker is a core in the second column; in the third it is a GPU, or a fifth of one with "
        "`--gpus 0.2`, and its time is assumed, for no GPU was measured. What breaks first is the "
        f"one process that gathers: it writes a cell's folder in {1000 * driver:.0f} ms, so "
        f"{limits[0]} workers keep it busy in the second column, and {limits[1]} in the third; "
        "more workers need several sweeps, each with a part of the grid and a folder of its own. "
        f"The folders hold {disk:.1f} GB then; a sweep that goes on reads all records in "
        f"{_time(CELLS * measured['read_seconds'])}; and each node holds the images once, "
        f"{images:.0f} MB, plus a copy per process.",
    ]
    return "\n".join(lines)


def _time(seconds: float) -> str:
    """Return a time in the largest unit of which there are two."""
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} s"
