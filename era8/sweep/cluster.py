"""Many runs on many machines or GPUs, through Ray: one task per run."""

import logging
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from era8.data import Data, load_data
from era8.device import choose_device
from era8.disk import BusyError, claim
from era8.progress import PULSE
from era8.records import Record, save_run
from era8.run import Run
from era8.sweep.work import FAILED, FINISHED, Log, Workspace, explain, find_finished
from era8.train import fit

AGAIN = [OSError, torch.OutOfMemoryError]  # what a second try may not meet


def sweep_cluster(
    runs: Sequence[Run],
    workspace: Workspace,
    address: str = "",
    cpus: float = 1,
    gpus: float = 0,
    retries: int = 2,
    log: Log = lambda run, line: None,
) -> dict[str, str]:
    """Train all runs on a Ray cluster; return why runs failed, by their names.

    The images are placed once on each node. Ray repeats the runs of a node or a process that died,
    from their beginning. This process gathers the records and writes them. It holds the lock of a
    run's folder from before Ray gets the run until its record is there; a run that is being trained
    already counts as failed.

    Args:
        runs: what to train, in the folders of the workspace.
        workspace: where.
        address: of the cluster (``auto``: the one of this machine); "" starts one here.
        cpus: that Ray is to keep for each run.
        gpus: likewise; several of these small networks share a GPU, so 0.2 is good.
        retries: how often a run is tried again.
        log: called with a run and how it ended, with the reason if it failed.

    Raises:
        ValueError: if Ray is not installed, the cluster does not answer or has no room for the
            images, or none of its nodes has what a run needs.
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
            images: Any = (
                None if workspace.synthetic else ray.put(load_data(workspace.data_dir, "cpu"))
            )
        except RayError as error:
            raise ValueError(f"the Ray cluster takes no images: {explain(error)}") from None
        train = ray.remote(_train).options(
            num_cpus=cpus, num_gpus=gpus, max_retries=retries, retry_exceptions=AGAIN
        )
        waiting, failed = list(runs), dict[str, str]()
        running = dict[Any, tuple[Run, Path, ExitStack]]()

        def end(run: Run, error: BaseException | None = None) -> None:
            if error:
                failed[run.name] = explain(error)
            log(run, FAILED + failed[run.name] if error else FINISHED)

        while waiting or running:
            while waiting and len(running) < 2 * _count_places(ray.cluster_resources(), needs):
                run, lock = waiting.pop(0), ExitStack()
                try:
                    folder = lock.enter_context(claim(workspace.folder(run)))
                    if find_finished(run, workspace):  # another sweep was first
                        lock.close()
                        end(run)
                    else:
                        running[train.remote(run, images, workspace)] = run, folder, lock
                except (BusyError, OSError, ValueError) as error:
                    lock.close()
                    end(run, error)
            if not running:
                continue
            # a node may join meanwhile, and through ray:// Ctrl-C waits for the end of the call
            ended, _ = ray.wait(list(running), num_returns=1, timeout=PULSE)
            for done in ended:
                run, folder, lock = running.pop(done)
                with lock:
                    try:
                        save_run(folder, *ray.get(done))
                        end(run)
                    except (RayError, OSError, ValueError) as error:  # its own; node; disk
                        end(run, getattr(error, "cause", None) or error)
    return failed


@contextmanager
def _cluster(ray: Any, address: str) -> Iterator[None]:
    """Be connected to a cluster, or to one that is started here and ends with it."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        if address and address != "auto":
            _knock(address.removeprefix("ray://"))
        ray.init(address or "local", include_dashboard=False, logging_level=logging.ERROR)
    except Exception as error:  # what Ray raises when it waits in vain is no class of its own
        raise ValueError(f"no Ray cluster answers at {address!r}: {error}") from None
    try:
        signal.signal(signal.SIGTERM, before)  # Ray has put its own there
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise an error unless something that speaks gRPC answers in 10 s; Ray would try for minutes.

    Both sides of gRPC begin with a frame of settings (RFC 9113, Sec. 3.4 and 4.1).
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError("an address is host:port, or auto")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        if os.environ.get("RAY_USE_TLS") != "1":
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, *[0] * 5]))
            if connection.recv(9)[3:4] != b"\x04":
                raise ConnectionError("what listens there is no Ray")


def _count_places(there: dict[str, float], needs: dict[str, float]) -> int:
    """Return how many runs a cluster trains at a time."""
    return int(min((there.get(kind, 0) // n for kind, n in needs.items() if n), default=1)) or 1


def _check_nodes(nodes: Sequence[dict[str, Any]], needs: dict[str, float]) -> None:
    """Raise a ValueError if no node can ever take a run; Ray itself would wait for one."""
    there = [node["Resources"] for node in nodes if node["Alive"]]
    if not any(all(node.get(kind, 0) >= n for kind, n in needs.items()) for node in there):
        text = " and ".join(f"{number:g} {kind}" for kind, number in needs.items() if number)
        raise ValueError(f"no node of the Ray cluster has {text}, as each run is to have")


def _train(run: Run, images: Data | None, workspace: Workspace) -> tuple[Record, Any]:
    """Train a run in a process of Ray, on synthetic images if there are none; model on the CPU."""
    torch.set_num_threads(workspace.threads)
    if images is None:
        data = load_data("synthetic", workspace.device, run.train_images)
    else:
        data = images.to(choose_device(workspace.device)).take(run.train_images)
    torch.manual_seed(run.seed)
    model = run.make_model()
    record = fit(model, data.hold_out(run.val_images), run, lambda line: None)
    return record, model.cpu()
