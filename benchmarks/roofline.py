"""What a training step computes and moves, and what the machine could (Williams et al. 2009)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.loops import train_step
from era8.device import PRECISIONS


class TrafficMode(TorchDispatchMode):
    """Sums the bytes that operations read and write, as if nothing stayed in a cache.

    Views move nothing, and neither does making a tensor that is not filled. What an operation
    reads twice inside counts once.
    """

    bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation and count its inputs and outputs."""
        result = func(*args, **(kwargs or {}))
        if not func.is_view and "empty" not in func.__name__:
            leaves = tree_leaves((args, kwargs, result))
            tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
            # an expanded tensor has more elements than it has memory
            self.bytes += sum(min(t.nbytes, t.untyped_storage().nbytes()) for t in tensors)
        return result


def count_step(
    model: nn.Module, device: torch.device, batch_size: int, precision: str, channels_last: bool
) -> dict[str, float]:
    """Return the ``flops`` and ``bytes`` of a training step with SGD, per image.

    A multiplication and an addition are two; only convolutions and matrix products are counted.
    """
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model.to(device, memory_format=layout).train()  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9, momentum=0.9)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    images = torch.zeros(batch_size, 3, 32, 32, device=device).to(memory_format=layout)
    labels = torch.zeros(batch_size, dtype=torch.long, device=device)
    train_step(model, optimizer, scaler, images, labels, precision)  # makes SGD's buffers
    with FlopCounterMode(display=False) as flops, TrafficMode() as traffic:
        train_step(model, optimizer, scaler, images, labels, precision)
    return {"flops": flops.get_total_flops() / batch_size, "bytes": traffic.bytes / batch_size}


def measure_peaks(device: torch.device, precision: str, seconds: float = 2.0) -> dict[str, float]:
    """Return the highest ``flops_per_second`` and ``bytes_per_second`` that were reached.

    The first by a product of large square matrices, the second by copying 512 MiB, which no cache
    holds; a copy reads and writes each byte once.
    """
    from torch.utils.benchmark import Timer  # warns, as it is imported, where CUDA lacks a GPU

    n = 2_048 if device.type == "cpu" else 8_192
    matrix = torch.rand(n, n, device=device).to(PRECISIONS[precision])
    source = torch.ones(2**29, dtype=torch.uint8, device=device)
    product, target = torch.empty_like(matrix), torch.empty_like(source)

    def shortest(action: Callable[[], Any]) -> float:
        timer = Timer("act()", globals={"act": action}, num_threads=torch.get_num_threads())
        return min(timer.blocked_autorange(min_run_time=seconds).times)

    return {
        "flops_per_second": 2 * n**3 / shortest(lambda: torch.mm(matrix, matrix, out=product)),
        "bytes_per_second": 2 * len(source) / shortest(lambda: target.copy_(source)),
    }


def wait(device: torch.device) -> None:
    """Wait until the device has done what it was given; only then a clock tells something."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
