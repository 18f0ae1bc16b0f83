"""The machine under a run: its device, its precision, its memory and its versions."""

import ctypes
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from era8 import __version__
from era8.commit import find_commit

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}

# TF32 off: on a GPU it would round the factors of a float32 convolution to ten bits, unsaid.
torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False


def choose_device(device: str = "auto") -> torch.device:
    """Return the torch device of a name; ``auto`` is the GPU if there is one, else the CPU.

    Raises:
        ValueError: if the name is unknown, or this machine has no such device.
    """
    if device == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen).sum().item()  # the meta device and absent ones fail here
    except (RuntimeError, AssertionError, TypeError, ImportError) as error:
        raise ValueError(
            f"device must be auto or one that this machine has, such as cpu; got {device!r} "
            f"({str(error).splitlines()[0].split('. ')[0]})"
        ) from None
    return chosen


def best_precision(device: torch.device) -> str:
    """Return the fastest precision of the device: bf16, fp16 or fp32.

    bfloat16 needs AMX on an Intel CPU, AVX512-BF16 on another (Intel's with that alone are 1.2
    times as fast with float32; without either it is emulated, and ten times slower), and Ampere or
    later on an NVIDIA GPU; older ones (a T4) take float16.
    """
    if device.type == "cpu":
        avx512 = torch.cpu._is_avx512_bf16_supported() and "Intel" not in _cpu_name()
        return "bf16" if torch.cpu._is_amx_tile_supported() or avx512 else "fp32"
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    return "fp32"


def memory_format(device: torch.device) -> torch.memory_format:
    """Return the order of memory in which convolutions are fastest: that with the channels last.

    On Apple's MPS BatchNorm's backward is wrong for it (pytorch/pytorch#175189).
    """
    return torch.contiguous_format if device.type == "mps" else torch.channels_last


def device_name(device: torch.device) -> str:
    """Return what the device is called, with a CPU's threads, and whether a GPU uses TF32."""
    if device.type == "cuda":
        tf32 = "on" if torch.backends.cudnn.allow_tf32 else "off"
        return f"cuda: {torch.cuda.get_device_name(device)}, TF32 {tf32}"
    if device.type != "cpu":
        return device.type
    return f"cpu: {_cpu_name()}, {torch.get_num_threads()} thread(s)"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration, IndexError):  # a system that hides it
        return platform.processor() or platform.machine()


@cache
def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory for the next batch instead of returning it to the kernel.

    By default every large tensor is mapped afresh and its pages are zeroed by the kernel, each
    step again. Returns whether the C library took the setting; elsewhere nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    m_mmap_threshold, m_trim_threshold, largest = -3, -1, 2**31 - 1  # from glibc's malloc.h
    return bool(mallopt(m_mmap_threshold, 2**30) and mallopt(m_trim_threshold, largest))


@cache
def versions() -> dict[str, str]:
    """Return the versions that made a run: era8 and its commit, Python, torch and torchvision."""
    found = {"era8": __version__, "commit": find_commit(), "python": platform.python_version()}
    for package in ("torch", "torchvision"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found
