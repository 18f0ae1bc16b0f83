"""CIFAR-10 as uint8 tensors on the device."""

import os
import pickle
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from era8.checks import check_int, show
from era8.data import files
from era8.data.download import find_or_fetch
from era8.data.synthetic import synthetic_arrays
from era8.device import choose_device, memory_format

CLASSES = tuple("airplane automobile bird cat deer dog frog horse ship truck".split())
MEAN = (0.4914, 0.4822, 0.4465)  # of the training images, per channel, on a scale of 0 to 1
STD = (0.2470, 0.2435, 0.2616)
TRAIN_IMAGES = 50_000
SYNTHETIC_IMAGES = 10_000  # a synthetic run has no more, whatever it asks for


@dataclass(frozen=True)
class Split:
    """Images (N, 3, 32, 32) uint8 and labels (N,) int64, on one device."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor) -> "Split":
        return Split(self.images[index], self.labels[index])

    def to(self, device: torch.device) -> "Split":
        """Return the same split on another device."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Data:
    """A training set, a test set, and, once held out, a validation set to choose settings by."""

    train: Split
    test: Split
    name: str  # cifar10 or synthetic; every record and figure of a run says which
    checksum: str  # MD5 of CIFAR-10's archive; none for synthetic images
    val: Split | None = None

    @property
    def held_out(self) -> Split:
        """The images that a run is tested on: the validation set if there is one."""
        return self.val or self.test

    @property
    def device(self) -> torch.device:
        """The device on which all tensors live."""
        return self.train.images.device

    def check(self) -> None:
        """Refuse images of another form, and labels of no class: -100 would be left out unsaid."""
        words = self.name, self.checksum
        if not all(isinstance(word, str) and word.isprintable() for word in words):
            raise ValueError(f"data's name and checksum must be text; got {show(words)}")
        for part in (self.train, self.held_out):
            n, (images, labels) = len(part), (part.images, part.labels)
            forms = [f"{tuple(x.shape)} of {x.dtype}" for x in (images, labels)]
            wanted = [f"{(n, 3, 32, 32)} of torch.uint8", f"{(n,)} of torch.int64"]
            if not n or forms != wanted or labels.min() < 0 or labels.max() >= len(CLASSES):
                raise ValueError(
                    "data must have images (N, 3, 32, 32) of torch.uint8, labels (N,) of "
                    f"torch.int64 from 0 to 9, and one at least; got {' and '.join(forms)}"
                )

    def to(self, device: torch.device) -> "Data":
        """Return the same data, no part of it held out yet, on another device."""
        return replace(self, train=self.train.to(device), test=self.test.to(device))

    def take(self, train_images: int) -> "Data":
        """Return the data with the first ``train_images`` training images, classes balanced."""
        train_images = check_int("train_images", train_images, 1, len(self.train))
        if train_images == len(self.train):
            return self
        order = _balanced_order(self.train.labels)
        return replace(self, train=self.train[order[:train_images].sort().values])

    def hold_out(self, val_images: int = 5_000) -> "Data":
        """Return the data with a fixed, class-balanced validation set cut from the training set."""
        val_images = check_int("val_images", val_images, 0, len(self.train) - 1)
        if val_images == 0:
            return self
        if self.val:  # they would be neither trained on nor held out
            raise ValueError(f"{len(self.val)} images are held out already; load the data anew")
        order = _balanced_order(self.train.labels)
        train, val = order[:-val_images].sort().values, order[-val_images:].sort().values
        return replace(self, train=self.train[train], val=self.train[val])


def _balanced_order(labels: Tensor) -> Tensor:
    """Return indices that take the classes in turn: first image of each, second of each, ..."""
    one_hot = F.one_hot(labels, len(CLASSES))
    rank = one_hot.cumsum(0).gather(1, labels[:, None]).squeeze(1)  # 1 for the first of its class
    return torch.argsort(rank * len(CLASSES) + labels)


def load_data(source: str = "", device: str = "auto", train_images: int = TRAIN_IMAGES) -> Data:
    """Load what a notebook's parameters ask for.

    Args:
        source: the folder of CIFAR-10, ``""`` for wherever :func:`load_cifar10` finds it, or
            ``synthetic`` for :func:`load_synthetic`, at most ``SYNTHETIC_IMAGES`` of them.
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        train_images: how many of the training images to take, classes balanced.

    Raises:
        ValueError: if there are not so many images; and as :func:`load_cifar10`.
    """
    train_images = check_int("train_images", train_images, 1, TRAIN_IMAGES)
    if source == "synthetic":
        return load_synthetic(device, min(train_images, SYNTHETIC_IMAGES))
    return load_cifar10(source or None, device).take(train_images)


def load_cifar10(root: str | os.PathLike | None = None, device: str = "auto") -> Data:
    """Find CIFAR-10 or fetch it, verify its checksums, and hold it on a device.

    Raises:
        ValueError: if the device is unknown or absent.
        FileNotFoundError, era8.data.files.DataError: as :func:`era8.data.download.find_or_fetch`,
            which says where ``root`` is looked for.
    """
    target, folder = choose_device(device), find_or_fetch(root)
    batches = [_read_batch(folder / f"data_batch_{i}") for i in range(1, 6)]
    images, labels = map(np.concatenate, zip(*batches, strict=True))
    test = _split(*_read_batch(folder / "test_batch"), target)
    return Data(_split(images, labels, target), test, "cifar10", files.MD5)


def load_synthetic(device: str, train_images: int) -> Data:
    """Generate images of ten shapes with the names of CIFAR-10's classes, a fifth for tests."""
    target = choose_device(device)
    train = _split(*synthetic_arrays(train_images, seed=0), target)
    test = _split(*synthetic_arrays(max(10, train_images // 5), seed=1), target)
    return Data(train, test, "synthetic", "none")


def _read_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read one batch file: images (N, 3, 32, 32) uint8 and labels (N,)."""
    batch = pickle.loads(files.read(path), encoding="latin1")  # the very bytes that are verified
    return batch["data"].reshape(-1, 3, 32, 32), np.array(batch["labels"])


def _split(images: np.ndarray, labels: np.ndarray, device: torch.device) -> Split:
    return Split(torch.from_numpy(images), torch.from_numpy(labels).long()).to(device)


@cache
def _channels(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of uint8 images (3, 1, 1), copied once: a copy waits for a GPU."""
    with torch.inference_mode(False):  # for training too, whoever is the first to ask
        both = 255 * torch.tensor([MEAN, STD], dtype=torch.float32, device=device)
    return both[0].view(3, 1, 1), both[1].view(3, 1, 1)


def normalise(images: Tensor) -> Tensor:
    """Return uint8 images (N, 3, 32, 32) as float32, each channel of mean 0 and variance 1."""
    mean, std = _channels(images.device)
    return ((images - mean) / std).contiguous(memory_format=memory_format(images.device))
