"""The batches that are drawn from a split: shuffled and augmented, or plain."""

from collections.abc import Generator, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from era8.data.load import Split, normalise

PLAIN = 250  # images in a batch that nothing is learned from


def train_batches(
    split: Split,
    batch_size: int,
    generator: torch.Generator,
    max_shift: int = 2,
    flip: bool = True,
    low_res: bool = False,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield one epoch of shuffled, augmented and normalised batches, drawn on the device.

    Each image comes once, moved by up to ``max_shift`` pixels in both directions, with reflected
    borders, and with ``flip`` mirrored with probability one half; each has draws of its own. The
    generator is on the device of the images. The last batch may be smaller. With ``low_res`` each
    four pixels become one, their mean (Tan and Le 2021, arXiv 2104.00298, Sec. 4).
    """
    padded = F.pad(split.images, [max_shift] * 4, mode="reflect")
    windows = padded.unfold(2, 32, 1).unfold(3, 32, 1)  # (N, 3, 2 max_shift + 1, ..., 32, 32)

    def draw(high: int) -> Tensor:
        return torch.randint(high, (len(split),), generator=generator, device=padded.device)

    order = torch.randperm(len(split), generator=generator, device=padded.device)
    top, left, mirror = draw(2 * max_shift + 1), draw(2 * max_shift + 1), draw(2 if flip else 1)
    for index in order.split(batch_size):
        images = windows[index, :, top[index], left[index]]  # (batch_size, 3, 32, 32)
        images = torch.where(mirror[index, None, None, None].bool(), images.flip(3), images)
        images = normalise(images)
        yield F.avg_pool2d(images, 2) if low_res else images, split.labels[index]


def plain_batches(split: Split, batch_size: int = PLAIN) -> Generator[tuple[Tensor, Tensor]]:
    """Yield the images normalised and the labels, in their order."""
    for images, labels in zip(
        split.images.split(batch_size), split.labels.split(batch_size), strict=True
    ):
        yield normalise(images), labels
