"""Grids of runs, on one machine or many."""

import multiprocessing
import os
import signal
from contextlib import suppress
from multiprocessing import forkserver
from typing import Any


def prepare_processes() -> Any:
    """Return how the processes of cells are made: forked off a server, where there is one.

    The server imports what a cell needs once, in seconds, and begins with the first call: whoever
    makes that early has other things done meanwhile.
    """
    if os.name != "posix":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["era8.sweep.cell", "torch._dynamo"])  # optimizers import it
    with suppress(ValueError):  # only the main thread can
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as the server does, once it is up
        try:
            forkserver.ensure_running()
        finally:
            signal.signal(signal.SIGINT, before)
    return context
