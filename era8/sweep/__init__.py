"""Grids of runs, on one machine or many."""

import multiprocessing
import os
import signal
import tempfile
from contextlib import suppress
from multiprocessing import forkserver
from typing import Any

SOCKET = 108 - len("/pymp-xxxxxxxx/listener-xxxxxxxx")  # of a socket's path in TMPDIR, on Linux


def prepare_processes() -> Any:
    """Return how the processes of runs are made: forked off a server, where there is one.

    The server imports what a run needs once, in seconds, and begins with the first call: whoever
    makes that early has other things done meanwhile.
    """
    if os.name != "posix" or len(tempfile.gettempdir()) > SOCKET:
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["era8.sweep.work", "torch._dynamo"])  # optimizers import it
    safe = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"  # or a random.py of the current folder would be Python's
    with suppress(ValueError):  # only the main thread can
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as the server does, once it is up
        try:
            forkserver.ensure_running()
        finally:
            signal.signal(signal.SIGINT, before)
    os.environ.pop("PYTHONSAFEPATH") if safe is None else os.environ.update(PYTHONSAFEPATH=safe)
    return context
