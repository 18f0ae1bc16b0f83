"""How many runs are trained at a time, and how far a sweep is."""

import os
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TextIO

from tqdm import tqdm

from era8.device import choose_device
from era8.run import Run


def share_threads(workers: int) -> int:
    """Return how many threads each of several processes is to have on this machine."""
    return max(1, _count_cores() // workers)


def share_workers(wanted: str, runs: int, device: str) -> int:
    """Return how many runs to train at a time; ``auto``: one on a GPU, else one for each core."""
    if wanted.isdecimal() and int(wanted):
        return min(runs, int(wanted))
    if wanted != "auto":
        raise ValueError(f"workers must be auto or a whole number of at least 1; got {wanted!r}")
    return 1 if choose_device(device).type != "cpu" else min(runs, _count_cores())


def _count_cores() -> int:
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return there or 1


def say(text: str, file: TextIO | None = None) -> None:
    """Print a text; if whoever read it has gone, as ``| head -1`` does, all goes on in silence."""
    file = file or sys.stdout
    try:
        print(text, file=file, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())


class SweepBar(tqdm):
    """A progress bar over the images that runs are trained on; lines without a terminal."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.epochs, self.ended, self.runs = Counter[str](), 0, len(runs)
        total = sum(run.epochs * run.images for run in runs)
        form = "{percentage:3.0f} %|{bar}| {elapsed}, {remaining} left{postfix}"
        super().__init__(total=total, disable=None, bar_format=form)

    def show(self, run: Run, line: str) -> None:
        """Advance to the epoch that a line of a run reports; an empty line is the run's end."""
        title, _, rest = line.partition("/")  # epoch  3/19 ...
        is_epoch = title.startswith("epoch") and bool(rest)
        epoch = int(title.split()[1]) if is_epoch else self.epochs[run.name]
        epoch = epoch if line else run.epochs
        self.ended += not line
        if self.disable or (line and not is_epoch):
            (say if self.disable else self.write)(f"{run.name}: {line or 'end'}")
        self.set_postfix_str(f"{self.ended} of {self.runs}", refresh=False)
        self.update(max(0, epoch - self.epochs[run.name]) * run.images)
        self.epochs[run.name] = max(epoch, self.epochs[run.name])
