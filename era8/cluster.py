"""Many cells on many machines or GPUs, through Ray: one task per cell."""

import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any

import torch

from era8.cell import Place, set_aside, train_cell
from era8.data import Data, Split, load_data
from era8.device import choose_device
from era8.grid import Cell
from era8.runs import Record, save_run

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
    the records and writes them.

    Args:
        cells: what to train.
        place: where; ``threads`` are those of each cell.
        address: of the cluster (``auto``: the one of this machine); "" starts one here.
        cpus: that Ray is to keep for each cell.
        gpus: likewise; several of these small networks share a GPU, so 0.2 is good.
        retries: how often a cell is tried again.
        log: called with a cell and ``""`` at its end.

    Raises:
        ValueError: if Ray is not installed, or the cluster does not answer.
    """
    try:
        import ray
    except ImportError:
        raise ValueError("--engine ray needs Ray; install it: pip install 'era8[sweep]'") from None
    from ray.exceptions import RayError, RayTaskError

    try:
        if address and address != "auto":  # Ray itself would try for minutes
            host, _, port = address.removeprefix("ray://").rpartition(":")
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address or "local", include_dashboard=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError, OverflowError) as error:
        raise ValueError(f"no Ray cluster answers at {address!r}: {error}") from None
    failed: dict[str, str] = {}
    try:
        images = ray.put(_pack(load_data(place.data_dir, "cpu")))
        train = ray.remote(_train).options(
            num_cpus=cpus, num_gpus=gpus, max_retries=retries, retry_exceptions=AGAIN
        )
        pending = {train.remote(cell, images, place.device, place.threads): cell for cell in cells}
        while pending:
            (done,), _ = ray.wait(list(pending), num_returns=1)
            cell = pending.pop(done)
            try:
                record, model = ray.get(done)
                set_aside(place.out / cell.name)
                save_run(place.out / cell.name, record, model)
            except RayTaskError as error:
                failed[cell.name] = f"{type(error.cause).__name__}: {error.cause}"
            except (RayError, OSError) as error:  # its process or node died too often; disk full
                failed[cell.name] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            log(cell, "")
    finally:
        ray.shutdown()
    return failed


def _train(cell: Cell, images: dict[str, Any], device: str, threads: int) -> tuple[Record, Any]:
    """Train a cell in a process of Ray; return its record and its model, on the CPU."""
    torch.set_num_threads(threads)
    data = _unpack(images, choose_device(device)).take(cell.settings["train_images"])
    record, model = train_cell(cell, data, lambda line: None)
    return record, model.cpu()


def _pack(data: Data) -> dict[str, Any]:
    """Return the data as arrays, which all processes of a node share."""
    parts = {"train": data.train, "test": data.test}
    arrays = {name: (split.images.numpy(), split.labels.numpy()) for name, split in parts.items()}
    return {"name": data.name, "checksum": data.checksum, **arrays}


def _unpack(arrays: dict[str, Any], device: torch.device) -> Data:
    """Return the data on a device; torch has no tensors that cannot be written to, so copied."""

    def split(name: str) -> Split:
        return Split(*(torch.tensor(array) for array in arrays[name])).to(device)

    return Data(split("train"), split("test"), arrays["name"], arrays["checksum"])
