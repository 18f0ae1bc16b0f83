"""Many runs on one machine: a process for each, so that none can harm another.

Pools of processes, the standard library's and joblib's, fail as a whole when one process dies.
"""

import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from era8.notebooks import RunError
from era8.run import Run
from era8.sweep import prepare_processes
from era8.sweep.work import FAILED, FINISHED, Log, Workspace, explain, train

PAUSE = 15.0  # seconds before a run that another sweep is training is looked at again
ENDINGS = {  # by the kind of error; of any other it is "failed", and tried again
    "BusyError": "busy",
    "ValueError": "hopeless",  # it would be the same again, as with the next
    "OtherRunError": "hopeless",
    "FloatingPointError": "hopeless",
    "DataError": "hopeless",
}
WAITS = "waits: another process trains it"
PATIENCE = 30.0  # seconds for a process that has said its last word to end

Task = Callable[[Run, Workspace, Callable[[str], Any]], None]


def sweep(
    runs: Sequence[Run],
    workspace: Workspace,
    workers: int = 1,
    retries: int = 2,
    log: Log = lambda run, line: None,
    task: Task = train,
) -> dict[str, str]:
    """Train all runs, several at a time; return why runs failed, by their names.

    Each run has a process of its own. One that fails or dies is tried again from its checkpoint,
    unless the reason would be the same again. A run that another sweep is training is left to it,
    and looked at again later.

    Args:
        runs: what to train; those that have been trained are left as they are.
        workspace: where.
        workers: runs at a time.
        retries: how often a run is tried again.
        log: called with a run and one line after each of its epochs, and in the meantime, when it
            is tried again, and at its end, with the reason if it failed.
        task: what is done with each run: :func:`era8.sweep.work.train`, or ``show``.
    """
    failed, failures, others = dict[str, str](), Counter[Run](), set[Run]()
    if not runs:
        return failed
    context = prepare_processes()
    waiting = dict.fromkeys(runs, 0.0)  # until when, on the clock of time.monotonic
    running = dict[Any, tuple[Run, BaseProcess]]()
    try:
        while waiting or running:
            due = [run for run, until in waiting.items() if until <= time.monotonic()]
            for run in due[: workers - len(running)]:
                del waiting[run]
                pipe, other = context.Pipe(duplex=False)
                process = context.Process(
                    target=_work, args=(other, task, run, workspace), daemon=True
                )
                process.start()
                other.close()  # so that the pipe ends when the process does
                running[pipe] = run, process
            if not running:  # all that is left waits for another sweep
                time.sleep(0.2)
                continue
            for pipe in wait(list(running), timeout=1.0):
                run, process = running[pipe]
                kind, text = _read(pipe, process)
                if kind == "epoch":
                    log(run, text)
                    continue
                del running[pipe]
                if kind == "busy":
                    if run not in others:
                        log(run, WAITS)
                    others.add(run)
                    waiting[run] = time.monotonic() + PAUSE
                elif kind == "failed" and failures[run] < retries:
                    failures[run] += 1
                    waiting[run] = 0.0
                    log(run, f"is tried again: {text}")
                elif kind == "finished":
                    log(run, FINISHED)
                else:
                    failed[run.name] = text
                    log(run, FAILED + text)
    finally:  # Ctrl-C too: the checkpoints are whole at any moment
        for _, process in running.values():
            process.kill()
        for _, process in running.values():
            process.join(PATIENCE)
    return failed


def _read(pipe: Any, process: BaseProcess) -> tuple[str, str]:
    """Take one message of a process, and see it end if that was its last."""
    try:
        kind, text = pipe.recv()
    except (EOFError, OSError):  # it died without a word
        kind, text = "failed", ""
    if kind == "epoch":
        return kind, text
    process.join(PATIENCE)
    process.kill()  # unless it has ended
    process.join()
    pipe.close()
    if kind == "failed" and not text:
        code = process.exitcode or 0
        text = f"its process was killed by signal {-code}" if code < 0 else "its process died"
    return kind, text


def _work(pipe: Connection, task: Task, run: Run, workspace: Workspace) -> None:
    """Train a run in a process of its own and say how it went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    try:
        task(run, workspace, lambda line: pipe.send(("epoch", line)))
        pipe.send(("finished", ""))
    except BrokenPipeError:  # the parent is gone
        return
    except (Exception, SystemExit) as error:  # whatever it is, it is this run's alone
        name = error.kind if isinstance(error, RunError) else type(error).__name__
        pipe.send((ENDINGS.get(name, "failed"), explain(error)))
