"""The cells with which a notebook sets itself up in Colab, in processes whose pip only notes."""

import json
import os
import shlex
import subprocess
import sys
import zipfile

import nbformat
import pytest

from era8.notebooks import find_notebook

pytestmark = pytest.mark.process
INSTALL = ["install", "-q", "torchinfo"]
PACKAGE = ["era8/__init__.py", "era8/kernel.py"]
SET_UP = """
import json, os, sys
from IPython.core.interactiveshell import InteractiveShell

there = "installed" in sys.argv
sys.path = [path for path in sys.path if not os.path.exists(os.path.join(path, "era8"))]
sys.path += ["", *(["../installed"] if there else [])]
sys.modules |= {} if "torchinfo" in sys.argv else {"torchinfo": None}
shell = InteractiveShell.instance()


def pip(line):
    print("pip", line)
    sys.path.append("../installed")


shell.register_magic_function(pip)
for source in json.load(sys.stdin):
    shell.run_cell(source).raise_error()
print("imported", __import__("era8.kernel").kernel.__file__)
"""


@pytest.fixture
def content(tmp_path):
    """A folder as Colab's, and a function that runs the set-up in it, with a pip of its own."""

    def pack(name, inside, folder=""):
        with zipfile.ZipFile(tmp_path / "content" / name, "w") as file:
            for path in inside:
                file.writestr(folder + path, "")

    def set_up(*words, folder="content", repository=""):
        book = nbformat.read(find_notebook("bn"), as_version=4)
        cells = [cell for cell in book.cells if cell.cell_type == "code"][:3]
        cells[0].source = cells[0].source.replace('""', f'"{repository}"', 1)
        done = subprocess.run(
            [sys.executable, "-c", SET_UP, *words], cwd=tmp_path / folder, text=True,
            input=json.dumps([cell.source for cell in cells]), capture_output=True,
            env=os.environ | {"PYTHONPATH": "", "IPYTHONDIR": str(tmp_path / "ipython")},
        )  # fmt: skip
        asked = [line[4:] for line in done.stdout.splitlines() if line.startswith("pip ")]
        assert len(asked) < 2, done.stdout
        return (shlex.split(asked[0]) if asked else []), done.stdout + done.stderr

    for name in ("installed", "clone"):
        (tmp_path / name / "era8").mkdir(parents=True)
        for file in PACKAGE:
            (tmp_path / name / file).touch()
    (tmp_path / "clone" / "notebooks").mkdir()
    (tmp_path / "content").mkdir()
    pack("runs.zip", ["runs/bn/record.json"])  # the user's own
    (tmp_path / "content" / "broken.zip").write_text("half of an upload")
    return tmp_path, pack, set_up


@pytest.mark.parametrize("folder", ["content", "content/clone", "content/clone/notebooks"])
@pytest.mark.parametrize("torchinfo", [False, True])
def test_the_set_up_takes_a_clone_that_it_lies_in_or_beside(content, folder, torchinfo):
    """With torchinfo there, `pip install -e` has been run, which this Python has not seen."""
    root, _, set_up = content
    (root / "clone").rename(root / "content" / "clone")
    clone = str(root / "content" / "clone")
    asked, said = set_up(*(["torchinfo"] if torchinfo else []), folder=folder)
    assert asked == ([] if torchinfo else [*INSTALL, "-e", f"{clone}/"]), said
    assert f"imported {clone}/era8/kernel.py" in said or folder == "content/clone"


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("era8-1.0.0-py3-none-any (1).whl", "era8-1.0.0-py3-none-any.whl"),
        ("era8-1.0.0-py3-none-any(2).whl", "era8-1.0.0-py3-none-any.whl"),
        ("era8-main (1).zip", "era8-main (1).zip"),
    ],
)
def test_the_set_up_takes_the_newest_archive_under_a_name_that_pip_takes(content, name, right):
    root, pack, set_up = content
    pack("era8-0.1.0-py3-none-any.whl", PACKAGE)
    os.utime(root / "content" / "era8-0.1.0-py3-none-any.whl", (1, 1))
    pack(name, PACKAGE, "" if "whl" in name else "era8-main/")
    asked, said = set_up()
    assert asked[:3] == INSTALL, said
    assert os.path.basename(asked[3]) == right and zipfile.is_zipfile(asked[3])
    assert "imported" in said


def test_the_set_up_takes_what_is_installed_or_an_address_or_says_what_to_do(content):
    root, _, set_up = content
    assert set_up("installed", "torchinfo")[0] == []
    assert set_up("installed")[0] == INSTALL  # as after pip install --no-deps
    asked, said = set_up(repository="someone/era8")
    assert asked == [*INSTALL, "git+https://github.com/someone/era8"] and "imported" in said
    (root / "content" / "era8").mkdir()  # a folder of that name is no package
    asked, said = set_up()
    assert asked == [] and "upload a wheel or a zip of era8, or set repository" in said
