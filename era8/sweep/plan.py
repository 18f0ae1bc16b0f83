"""How many runs are trained at a time, and how far a sweep is."""

import os
import re
from collections import defaultdict
from collections.abc import Sequence

from tqdm import tqdm

from era8.device import choose_device
from era8.progress import PULSE, moved, say, silence
from era8.run import Run
from era8.sweep.work import FAILED, FINISHED


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


class SweepBar(tqdm):
    """A progress bar over the images that runs are trained on; lines without a terminal."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.epochs, self.ended, self.runs = defaultdict[str, float](float), 0, len(runs)
        total = sum(run.epochs * run.images for run in runs)
        form = "{percentage:3.0f} %|{bar}| {elapsed}, {remaining} left{postfix}"
        super().__init__(total=total, disable=None, bar_format=form)

    def show(self, run: Run, line: str) -> None:
        """Advance to what a line of a run reports, which may be its end.

        Lines that are there only to break the silence are printed if there is any.
        """
        found = re.match(r"epoch +(\d+)/\d+(?: +(\d+) %)?", line)  # a share of it, or the end
        epoch = int(found[1]) - (1 - int(found[2]) / 100 if found[2] else 0) if found else 0
        ended = line.startswith((FINISHED, FAILED))
        # after its last epoch the training images are evaluated
        epoch = max(self.epochs[run.name], run.epochs if ended else min(epoch, run.epochs - 0.2))
        self.ended += ended
        passing = line.endswith(" %")
        if self.disable and not (passing and silence() < PULSE / 2):
            say(f"{run.name}: {line}")
        elif not (self.disable or passing or found or line == FINISHED):
            self.write(f"{run.name}: {line}")
        self.set_postfix_str(f"{self.ended} of {self.runs}", refresh=False)
        self.update((epoch - self.epochs[run.name]) * run.images)
        self.epochs[run.name] = epoch
        self.refresh()  # also the time that has passed
        if not self.disable:
            moved()
