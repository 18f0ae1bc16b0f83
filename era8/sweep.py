"""Many cells on one machine: a process for each, so that none can harm another."""

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from filelock import Timeout

from era8.cell import Place, run_cell
from era8.files import DataError
from era8.grid import Cell

PAUSE = 5.0  # seconds before a cell that another sweep is training is looked at again
HOPELESS = (ValueError, FloatingPointError, DataError)  # would be the same again


@dataclass
class Work:
    """A cell on its way: the process that trains it, and what became of it.

    Attributes:
        failures: why each try failed.
    """

    cell: Cell
    failures: list[str] = field(default_factory=list)
    process: BaseProcess | None = None
    pipe: Connection | None = None
    not_before: float = 0.0


def sweep(
    cells: Sequence[Cell],
    place: Place,
    workers: int = 1,
    retries: int = 2,
    log: Callable[[Cell, str], Any] = lambda cell, line: None,
) -> dict[str, str]:
    """Train all cells, several at a time; return why cells failed, by their names.

    Each cell has a process of its own. One that fails or dies is tried again from its checkpoint,
    unless the reason would be the same again; the others are not touched by it. A cell that
    another sweep is training is left to it, and looked at again later.

    Args:
        cells: what to train; those that have been trained are left as they are.
        place: where.
        workers: cells at a time.
        retries: how often a cell is tried again.
        log: called with a cell and one line after each of its epochs, and ``""`` at its end.
    """
    context = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
    context.set_forkserver_preload(["era8.sweep"])  # imports once, not in each process
    queue, running, failed = deque(map(Work, cells)), list[Work](), dict[str, str]()
    try:
        while queue or running:
            for _ in range(len(queue)):
                work = queue.popleft()
                if len(running) < workers and time.monotonic() >= work.not_before:
                    running.append(_start(work, place, context))
                else:
                    queue.append(work)
            if not running:  # all that is left waits for another sweep
                time.sleep(0.2)
                continue
            ready = wait([work.pipe for work in running if work.pipe], timeout=1.0)
            for work in [work for work in running if work.pipe in ready]:
                if (end := _read(work, log)) is None:
                    continue
                running.remove(work)
                outcome, reason = end
                if outcome == "busy":
                    work.not_before = time.monotonic() + PAUSE
                    queue.append(work)
                elif outcome == "failed" and len(work.failures) < retries:
                    work.failures.append(reason)
                    queue.append(work)
                else:
                    if outcome != "finished":
                        failed[work.cell.name] = reason
                    log(work.cell, "")
    finally:  # Ctrl-C too: the checkpoints are whole at any moment
        for work in running:
            if work.process:
                work.process.kill()
                work.process.join()
    return failed


def _start(work: Work, place: Place, context: Any) -> Work:
    """Start the process of a cell."""
    work.pipe, other = context.Pipe(duplex=False)
    work.process = context.Process(target=_work, args=(other, work.cell, place), daemon=False)
    work.process.start()
    other.close()  # so that the pipe ends when the process does
    return work


def _read(work: Work, log: Callable[[Cell, str], Any]) -> tuple[str, str] | None:
    """Take one message of a process; return how it ended, None if it goes on."""
    assert work.pipe and work.process
    try:
        kind, text = work.pipe.recv()
    except (EOFError, OSError):  # it died without a word
        kind, text = "failed", ""
    if kind == "epoch":
        log(work.cell, text)
        return None
    work.process.join()
    work.pipe.close()
    if not text and kind == "failed":
        code = work.process.exitcode or 0
        text = f"its process was killed by signal {-code}" if code < 0 else "its process died"
    return kind, text


def _work(pipe: Connection, cell: Cell, place: Place) -> None:
    """Train a cell in a process of its own and say how it went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    try:
        run_cell(cell, place, lambda line: pipe.send(("epoch", line)))
        pipe.send(("finished", ""))
    except Timeout:
        pipe.send(("busy", ""))
    except BrokenPipeError:  # the parent is gone
        return
    except Exception as error:  # whatever it is, it is this cell's alone
        kind = "hopeless" if isinstance(error, HOPELESS) else "failed"
        text = str(error).strip().splitlines()[:1]
        pipe.send((kind, f"{type(error).__name__}: {text[0]}" if text else type(error).__name__))
