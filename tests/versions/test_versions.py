"""A notebook with other versions of all packages: the lowest that are allowed, and Colab's.

Each environment takes minutes and 6 GB: these tests run only where their folder is named.
"""

import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest

import era8
from era8.notebooks import find_notebook

REPOSITORY = Path(__file__).parents[2]
PIP = ("-m", "pip", "install", "-q", "--disable-pip-version-check")
SMALL = {"data_dir": "synthetic", "device": "cpu", "train_images": 500, "epochs": 1}
MODULES = ["era8", *(m.name for m in pkgutil.walk_packages(era8.__path__, "era8."))]
STRICT = {  # a warning that is raised in era8 is an error
    "PYTHONWARNINGS": ",".join(f"error:::{name}" for name in MODULES),
    "OMP_NUM_THREADS": "1",
}


@pytest.fixture
def environment(tmp_path):
    """A function that sets up an environment and returns its Python; it is deleted at the end."""

    def make(python, *packages):
        subprocess.run([python, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin/python", *PIP, *packages], check=True)
        return folder / "bin/python"

    folder = tmp_path / "environment"
    yield make
    shutil.rmtree(folder, ignore_errors=True)


def test_the_lowest_versions_that_are_allowed_run_a_notebook(environment, tmp_path):
    lowest = re.sub(r"^([\w-]+)>=(\S+).*", r"\1==\2", (REPOSITORY / "requirements.txt").read_text(),
                    flags=re.MULTILINE)  # fmt: skip
    (tmp_path / "lowest.txt").write_text(lowest)
    assert lowest.count("==") == len(lowest.splitlines())
    python = environment(sys.executable, "-r", tmp_path / "lowest.txt")
    words = [w for name, value in SMALL.items() for w in ("-p", name, str(value))]
    done = subprocess.run(
        [python, "-m", "era8", "run", "gn", *words], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | STRICT | {"PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert list(tmp_path.glob("runs/gn-*/group_norm.ipynb"))


def test_colab_runs_a_notebook_that_was_uploaded_with_a_wheel(environment, tmp_path, monkeypatch):
    own = Path.home().glob(".pyenv/versions/3.13*/bin/python3")  # Colab's; else the one at hand
    python = environment(next(own, sys.executable), "-r", Path(__file__).with_name("colab.txt"))
    wheel = [sys.executable, *PIP[:2], "wheel", "-q", "--no-deps", "-w", tmp_path, REPOSITORY]
    subprocess.run(wheel, check=True)
    (built,) = tmp_path.glob("era8-*.whl")
    built.rename(built.with_stem(f"{built.stem} (1)"))  # as a browser names what it has already
    kernel = tmp_path / "jupyter" / "kernels" / "colab" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel.write_text(json.dumps({"argv": command, "display_name": "Colab", "language": "python"}))
    for name, value in (STRICT | {"JUPYTER_PATH": str(kernel.parents[2])}).items():
        monkeypatch.setenv(name, value)

    source = find_notebook("bn")
    executed = tmp_path / source.name
    papermill.execute_notebook(
        source, executed, SMALL, cwd=tmp_path, kernel_name="colab", progress_bar=False
    )
    pictures = [executed.read_text().count('"image/png"'), source.read_text().count('"image/png"')]
    assert pictures[0] == pictures[1]
    outputs = [o for cell in nbformat.read(executed, 4).cells for o in cell.get("outputs", ())]
    red = [o["text"] for o in outputs if o.get("name") == "stderr"]
    assert not [text for text in red if "font cache" not in text]  # matplotlib's, on a first day
    assert list(tmp_path.glob("runs/bn-*/record.json"))
