"""What several test modules share: small data, and a CIFAR-10 of generated pictures on disk."""

import errno
import json
import os
import pickle
import shutil
import subprocess
from hashlib import md5
from pathlib import Path
from unittest import mock

import matplotlib.font_manager  # noqa: F401  looks for fonts on a first day, slowly and in red
import pytest
import torch
from hypothesis import HealthCheck, settings
from support import forked

from era8 import Session8Net, load_data
from era8.data import CLASSES, files, load_synthetic
from era8.play import PARTS

# More than 2,000 inputs in all. The same ones each time: a test is no lottery.
settings.register_profile(
    "era8", derandomize=True, deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
settings.load_profile("era8")
# Tests fork this process. More threads of OpenMP do not survive that, nor does an autograd whose
# first step comes after a torch.compile: that feigns a GPU, for which autograd starts a thread.
torch.set_num_threads(1)
torch.ones(1, requires_grad=True).backward()
ASKED = {Path(__file__).parent / name for name in ("browser", "versions")}


def pytest_ignore_collect(collection_path, config):
    """Run the tests of some folders only where these are named: they take minutes."""
    if collection_path in ASKED and not any(collection_path.name in arg for arg in config.args):
        return True  # None asks the other hooks
    return None


@pytest.fixture(scope="session")
def data():
    """300 generated training pictures and 60 test pictures, on the CPU."""
    return load_synthetic("cpu", train_images=300)


@pytest.fixture(scope="module")
def forks():
    """The processes of sweeps are forks of this one: a try costs no start."""
    with forked():
        yield


@pytest.fixture
def full_disk():
    """A context in which nothing can be written."""

    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return mock.patch.object(Path, "write_bytes", refuse)


@pytest.fixture
def cifar_folder(tmp_path, monkeypatch):
    """A root with generated pictures in CIFAR-10's own file format, and checksums to match."""
    root = tmp_path / "cifar"
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    pictures = load_synthetic("cpu", train_images=50)
    parts = [pictures.train[torch.arange(i * 10, i * 10 + 10)] for i in range(5)]
    names = [f"data_batch_{i}" for i in range(1, 6)]
    for name, part in [*zip(names, parts, strict=True), ("test_batch", pictures.test)]:
        batch = {"data": part.images.flatten(1).numpy(), "labels": part.labels.tolist()}
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(CLASSES)}))
    sums = {path.name: md5(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    monkeypatch.setattr(files, "FILES", sums)
    return root


@pytest.fixture(scope="session")
def ask_node():
    """A function that asks the page's own modules, by node: see answer.mjs."""
    if not (node := shutil.which("node")):
        pytest.skip("node is not installed")

    def ask(**question):
        command = [node, str(Path(__file__).parent / "answer.mjs")]
        text = json.dumps({"folder": str(PARTS), **question})
        run = subprocess.run(command, input=text, capture_output=True, text=True)
        assert not run.returncode, run.stderr
        return json.loads(run.stdout)

    return ask


@pytest.fixture(scope="module")
def split():
    return load_data("synthetic", "cpu", 200).train


@pytest.fixture(params=["bn", "gn", "ln", "none"])
def model(request):
    torch.manual_seed(0)
    model = Session8Net(request.param)
    for p in model.parameters():
        p.data += 0.1 * torch.rand_like(p)  # so that no scale is one and no shift is zero
    return model
