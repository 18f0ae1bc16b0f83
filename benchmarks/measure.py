"""One measurement, in a process of its own: python -m benchmarks.measure JOB.

The job is JSON, as :mod:`benchmarks.__main__` plans it; what was measured is printed as JSON, too.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import Dataset, Subset
from torchvision import transforms
from torchvision.datasets import CIFAR10

from benchmarks.loops import LOOPS
from era8 import Session8Net, load_cifar10
from era8.data import MEAN, STD, Data, Split
from era8.data.files import MD5
from era8.evaluate import accuracy, predict

SETTINGS = (  # what a job may say of a loop, which has its own defaults for the rest
    "precision", "batch_size", "workers", "channels_last", "persistent_workers", "warmup",
    "max_shift", "low_res_epochs",
)  # fmt: skip


class Enough(Exception):
    """Ends a training from within, once there is nothing more to measure."""


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Return what was measured for a job, see the functions below."""
    device = torch.device(job["device"])
    torch.set_num_threads(job["threads"])
    torch.manual_seed(job["round"])  # the same initialisation for every loop
    return (measure_speed if job["part"] in ("speed", "tune") else measure_race)(job, device)


def measure_speed(job: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Time whole epochs after a first one that warms up, until there are enough seconds of them.

    Returns:
        ``images_per_second``; ``timed_epochs``; and ``memory``, the peak of this process in bytes
        (on a GPU: of what torch allocated there).
    """
    clock: list[float] = []

    def after_epoch() -> None:
        wait(device)
        clock.append(time.perf_counter())
        if clock[-1] - clock[0] >= job["seconds"] and len(clock) > 1:
            raise Enough

    train(Session8Net(job["norm"]), load(job, device), job, device, after_epoch)
    timed = len(clock) - 1
    rate = timed * job["images"] / (clock[-1] - clock[0])
    return {"images_per_second": rate, "timed_epochs": timed, "memory": peak_memory(device)}


def measure_race(job: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Train until an epoch after the goal; the clock stands still while the network is tested.

    Returns:
        ``history``: for each epoch the ``seconds`` trained so far, and the ``accuracy`` then on
        the images that were held out.
    """
    model, data = Session8Net(job["norm"]), load(job, device)
    val = load_tensors(job, device).val
    assert val is not None  # a race holds images out
    history: list[dict[str, float]] = []
    start = time.perf_counter()

    def after_epoch() -> None:
        nonlocal start
        wait(device)
        stopped = time.perf_counter()
        passed = bool(history) and history[-1]["accuracy"] >= job["goal"]
        reached = accuracy(predict(model, val), val.labels)
        history.append({"seconds": stopped - start, "accuracy": reached})
        if passed:
            raise Enough
        start += time.perf_counter() - stopped

    train(model, data, job, device, after_epoch)
    return {"history": history}


def train(
    model: Session8Net,
    data: Data | Dataset,
    job: dict[str, Any],
    device: torch.device,
    after_epoch: Callable[[], None],
) -> None:
    """Train a network with a job's loop and settings, to the end or until there is enough."""
    settings = {name: job[name] for name in SETTINGS if name in job}
    with suppress(Enough):
        LOOPS[job["loop"]](model, data, device, job["epochs"], after_epoch, **settings)


def load(job: dict[str, Any], device: torch.device) -> Data | Dataset:
    """Return the training images in the form that a job's loop takes."""
    if job["loop"] in ("course", "tuned"):
        return load_pictures(job)
    return replace(load_tensors(job, device), val=None)  # so that fit watches ten images alone


def load_pictures(job: dict[str, Any]) -> Dataset:
    """Return CIFAR-10 as most courses load it: PIL pictures, transformed one by one.

    These are the training images of :func:`load_tensors`, and no others.
    """
    augment = [transforms.RandomHorizontalFlip(), transforms.RandomCrop(32, padding=4)]
    to_tensor = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    pictures = CIFAR10(job["root"], transform=transforms.Compose([*augment, *to_tensor]))
    rows = Split(torch.arange(len(pictures)), torch.tensor(pictures.targets))
    chosen = Data(rows, rows, "cifar10", MD5).hold_out(job["val_images"]).take(job["images"])
    return Subset(pictures, chosen.train.images.tolist())


def load_tensors(job: dict[str, Any], device: torch.device) -> Data:
    """Return CIFAR-10 as era8 holds it; ten training images stand in place of the test set."""
    data = load_cifar10(job["root"], str(device)).hold_out(job["val_images"]).take(job["images"])
    return replace(data, test=data.train[torch.arange(10)])


def wait(device: torch.device) -> None:
    """Wait until the device has done what it was given; only then a clock tells something."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def peak_memory(device: torch.device) -> int:
    """Return the most bytes that were held at once, without those of a DataLoader's workers."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB on Linux
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    try:
        print(json.dumps(measure(json.loads(sys.argv[1]))))
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(str(error) or type(error).__name__)
