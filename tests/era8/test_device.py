import re
import subprocess
import sys

import pytest
import torch

from era8.device import (
    best_precision,
    choose_device,
    device_name,
    keep_freed_memory,
    memory_format,
    versions,
)


def test_auto_is_a_device_that_works():
    device = choose_device("auto")
    assert torch.ones(2, device=device).sum().item() == 2
    assert device.type in device_name(device)


def test_cuda_that_is_absent_is_refused():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(ValueError, match="device must be auto or one that this machine has.*cuda"):
        choose_device("cuda")


@pytest.mark.parametrize("name", ["hpu", "privateuseone", "meta", "tpu9"])
def test_a_device_of_which_torch_only_knows_the_name_is_refused(name):
    with pytest.raises(ValueError, match=f"device must be auto or one .*; got '{name}'"):
        choose_device(name)


@pytest.mark.parametrize(
    ("amx", "avx512", "name", "fastest"),
    [
        (True, True, "Intel(R) Xeon(R) Platinum 8488C", "bf16"),
        (False, True, "AMD EPYC 9R14", "bf16"),
        (False, True, "Intel(R) Xeon(R) Processor", "fp32"),  # it is native there, and slower
        (False, False, "AMD EPYC 7R13", "fp32"),
    ],
)
def test_precision_is_the_fastest_of_the_processor(amx, avx512, name, fastest, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr("era8.device._cpu_name", lambda: name)
    assert best_precision(torch.device("cpu")) == fastest


def test_precision_is_that_of_the_gpu_that_is_used(monkeypatch):
    machine = [(7, 5), (9, 0)]  # a T4 and an H100
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: machine[device.index])
    assert [best_precision(torch.device("cuda", i)) for i in (0, 1)] == ["fp16", "bf16"]
    assert best_precision(torch.device("mps")) == "fp32"


def test_tf32_is_off_and_said(monkeypatch):
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: f"number {device.index}")
    assert device_name(torch.device("cuda", 1)) == "cuda: number 1, TF32 off"
    monkeypatch.setattr("torch.backends.cudnn.allow_tf32", True)  # whoever wants it
    assert device_name(torch.device("cuda", 1)) == "cuda: number 1, TF32 on"


def test_convolutions_take_the_channels_last_but_on_mps():
    assert memory_format(torch.device("mps")) == torch.contiguous_format
    assert memory_format(torch.device("cpu")) == torch.channels_last
    assert memory_format(torch.device("cuda", 1)) == torch.channels_last


def test_versions_name_the_commit():
    found = versions()
    assert found["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert re.fullmatch(r"[0-9a-f]{9,}(-dirty)?|unknown", found["commit"])


@pytest.mark.process
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_freed_memory_is_kept():
    """With the setting, the same large tensor again and again costs the kernel no new pages."""
    program = """
import resource, torch
from era8.device import keep_freed_memory
if {keep}: assert keep_freed_memory()
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(12_000_000).sum()
before = faults()
for _ in range(20): torch.ones(12_000_000).sum()
print(faults() - before)
"""
    counts = [
        int(subprocess.check_output([sys.executable, "-c", program.format(keep=keep)], text=True))
        for keep in (True, False)
    ]
    assert counts[0] < counts[1] / 2  # a machine that is short of memory takes some back


def test_keep_freed_memory_without_glibc(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert keep_freed_memory.__wrapped__() is False
