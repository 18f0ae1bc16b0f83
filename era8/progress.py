"""How a command and a training say that they go on: by a bar where a person watches, or lines."""

import math
import os
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Event, Thread
from typing import Any, TextIO

from tqdm import tqdm  # the plain one: GitHub does not draw notebooks that hold its widgets

TICK, PULSE = 6.0, 8.0  # seconds of silence that a training may have, and a command

_said = 0.0  # when a command last said something, on the clock of time.monotonic


def say(text: str, file: TextIO | None = None) -> None:
    """Print a text; if whoever read it has gone, as ``| head -1`` does, all goes on in silence."""
    file = file or sys.stdout
    moved()
    try:
        print(text, file=file, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())


def moved() -> None:
    """Note that something was said just now, or that a bar has moved."""
    global _said
    _said = time.monotonic()


def silence() -> float:
    """Return for how many seconds nothing has been said."""
    return time.monotonic() - _said


@contextmanager
def heartbeat() -> Iterator[None]:
    """Say at once that a command has begun, and every ``PULSE`` seconds of silence that it goes on.

    PyTorch takes seconds to load, and a minute on a busy machine; so does a notebook to execute.
    """
    ended = Event()

    def beat() -> None:
        while not ended.wait(1.0):
            if silence() > PULSE:
                with tqdm.external_write_mode(sys.stderr):
                    say("at work", sys.stderr)

    moved()
    if "torch" not in sys.modules:
        say("loading PyTorch", sys.stderr)
    Thread(target=beat, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def is_watched(file: TextIO) -> bool:
    """Return whether a person sees what is written to a file: in a terminal, or in a notebook.

    papermill, nbclient and nbconvert execute a notebook too, and keep every step of a bar in it;
    but they have nobody whom the notebook could ask for input, and tell the kernel so.
    """
    kernel = find_kernel()
    asked = kernel.get_parent("shell").get("content", {}) if kernel else {}
    return file.isatty() or bool(asked.get("allow_stdin"))


def find_kernel() -> Any:
    """Return the Jupyter kernel that this process is, or None."""
    ipython = sys.modules.get("IPython")
    return getattr(ipython.get_ipython(), "kernel", None) if ipython else None


class ProgressLog:
    """A log that is told more than it is given, unless a bar moves, or a notebook keeps it all."""

    def __init__(self, log: Callable[[str], Any]) -> None:
        self.bar = log is print and is_watched(sys.stdout)
        self.paced = log is not print or not (self.bar or find_kernel())
        self.log = partial(print, flush=True) if log is print else log  # a file is read meanwhile
        self.due = math.inf  # until something can be said of how far an epoch is
        if log is print and self.paced:
            self("training begins")

    def __call__(self, line: str) -> None:
        """Log a line."""
        self.log(line)
        self.due = time.monotonic() + TICK

    def watch(self, batches: Iterator[Any], n_steps: int, title: str) -> Generator[Any, None, None]:
        """Yield batches, and show how many of them have been taken: by a bar, or by lines."""
        if self.bar:  # even one that is off has a semaphore, which a kill leaves
            batches = tqdm(
                batches, title, n_steps, leave=False, file=sys.stdout, mininterval=1,
                bar_format="{desc}  {percentage:3.0f} %  {remaining} left",
            )  # fmt: skip
        self.due = min(self.due, time.monotonic() + TICK)
        for step, batch in enumerate(batches):
            if self.paced and time.monotonic() > self.due:
                self(f"{title}  {100 * step / n_steps:3.0f} %")
            yield batch
