"""Many cells on many machines or GPUs, through Ray: one task per cell."""

import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from era8.data import Data, load_data
from era8.device import choose_device
from era8.records import BusyError, Record, claim, save_run
from era8.sweep.cell import Place, explain, find_finished, train_cell
from era8.sweep.grid import Cell

AGAIN = [OSError, torch.OutOfMemoryError]  # what a second try may not meet


def sweep_cluster(
    cells: Sequence[Cell],
    place: Place,
    address: str = "",
    cpus: float = 1,
    gpus: float = 0,
    retries: int = 2,
    log: Callable[[Cell, str], Any] = lambda cell, line: None,
) -> dict[str, str]:
    """Train all cells on a Ray cluster; return why cells failed, by their names.

    The images are placed once on each node. Ray repeats the cells of a node or a process that
    died, from their beginning; a cell that fails otherwise would fail again. This process gathers
    the records and writes them. It holds the lock of a cell's folder from before Ray gets the cell
    until its record is there, so what else trains into the same folder trains other cells; a cell
    that is being trained already counts as failed.

    Args:
        cells: what to train.
        place: where.
        address: of the cluster (``auto``: the one of this machine); "" starts one here.
        cpus: that Ray is to keep for each cell.
        gpus: likewise; several of these small networks share a GPU, so 0.2 is good.
        retries: how often a cell is tried again.
        log: called with a cell and ``""`` at its end.

    Raises:
        ValueError: if Ray is not installed, the cluster does not answer or has no room for the
            images, or none of its nodes has what a cell needs.
    """
    try:
        import ray
    except ImportError:
        raise ValueError("--engine ray needs Ray; install it: pip install 'era8[sweep]'") from None
    from ray.exceptions import RayError

    with _cluster(ray, address):
        needs = {"CPU": cpus, "GPU": gpus}
        _check_nodes(ray.nodes(), needs)
        try:
            images: Any = None if place.synthetic else ray.put(load_data(place.data_dir, "cpu"))
        except RayError as error:
            raise ValueError(f"the Ray cluster takes no images: {explain(error)}") from None
        train = ray.remote(_train).options(
            num_cpus=cpus, num_gpus=gpus, max_retries=retries, retry_exceptions=AGAIN
        )
        waiting, failed = list(cells), dict[str, str]()
        running = dict[Any, tuple[Cell, Path, ExitStack]]()

        def end(cell: Cell, error: BaseException | None = None) -> None:
            if error:
                failed[cell.name] = explain(error)
            log(cell, "")

        while waiting or running:
            while waiting and len(running) < 2 * _count_places(ray.cluster_resources(), needs):
                cell, lock = waiting.pop(0), ExitStack()
                try:
                    folder = lock.enter_context(claim(place.folder(cell)))
                    if find_finished(cell, place):  # another sweep was first
                        lock.close()
                        end(cell)
                    else:
                        running[train.remote(cell, images, place)] = cell, folder, lock
                except (BusyError, OSError, ValueError) as error:
                    lock.close()
                    end(cell, error)
            if running:
                (done,), _ = ray.wait(list(running), num_returns=1)
                cell, folder, lock = running.pop(done)
                with lock:
                    try:
                        save_run(folder, *ray.get(done))
                        end(cell)
                    except (RayError, OSError, ValueError) as error:  # its own; node; disk
                        end(cell, getattr(error, "cause", None) or error)
    return failed


@contextmanager
def _cluster(ray: Any, address: str) -> Iterator[None]:
    """Be connected to a cluster, or to one that is started here and ends with it."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        if address and address != "auto":  # Ray itself would try for minutes
            host, _, port = address.removeprefix("ray://").rpartition(":")
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address or "local", include_dashboard=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError, OverflowError) as error:
        raise ValueError(f"no Ray cluster answers at {address!r}: {error}") from None
    try:
        if main:
            signal.signal(signal.SIGTERM, before)  # Ray has put its own there
        yield
    finally:
        ray.shutdown()


def _count_places(there: dict[str, float], needs: dict[str, float]) -> int:
    """Return how many cells a cluster trains at a time."""
    return int(min((there.get(kind, 0) // n for kind, n in needs.items() if n), default=1)) or 1


def _check_nodes(nodes: Sequence[dict[str, Any]], needs: dict[str, float]) -> None:
    """Raise a ValueError if no node can ever take a cell; Ray itself would wait for one."""
    there = [node["Resources"] for node in nodes if node["Alive"]]
    if not any(all(node.get(kind, 0) >= n for kind, n in needs.items()) for node in there):
        text = " and ".join(f"{number:g} {kind}" for kind, number in needs.items() if number)
        raise ValueError(f"no node of the Ray cluster has {text}, as each cell is to have")


def _train(cell: Cell, images: Data | None, place: Place) -> tuple[Record, Any]:
    """Train a cell in a process of Ray, on synthetic images if there are none; model on the CPU."""
    torch.set_num_threads(place.threads)
    if images is None:
        data = load_data("synthetic", place.device, cell.settings["train_images"])
    else:
        data = images.to(choose_device(place.device)).take(cell.settings["train_images"])
    record, model = train_cell(cell, data)
    return record, model.cpu()
