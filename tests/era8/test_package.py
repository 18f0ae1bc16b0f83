"""What strangers get: one version everywhere, and files that a clone leaves as they are."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from support import command

import era8
from era8.device import versions

ROOT = Path(__file__).parents[2]
NOBODY = {
    f"GIT_{who}_{what}": "era8" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
}


def git(*words, folder=ROOT, **options):
    words = ["git", "-C", str(folder), *words]
    return subprocess.run(words, capture_output=True, text=True, check=True, **options).stdout


def commit(folder, *settings):
    """Make a repository of what a folder holds."""
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        git(*settings, *words, folder=folder, env=os.environ | NOBODY)


@pytest.fixture
def files():
    """The files of the repository that Git keeps."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone")
    return git("ls-files").splitlines()


def test_the_version_is_said_in_one_place():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert versions()["era8"] == citation["version"] == era8.__version__
    assert changes.split("\n## ")[1].startswith(f"{era8.__version__}\n")


def test_a_clone_keeps_every_hashed_file_byte_for_byte(files):
    """Records and weights name each other's SHA-256; Git for Windows would give them other ends."""
    hashed = [name for name in files if name.startswith(("results/", "era8/weights/"))]
    assert any(name.endswith("record.json") for name in hashed)
    told = git("check-attr", "--stdin", "text", input="\n".join(hashed)).splitlines()
    assert told == [f"{name}: text: unset" for name in hashed]


def test_a_clone_by_git_for_windows_has_the_line_ends_of_the_others(tmp_path):
    """In a repository of three files, with these attributes and Windows' own settings."""
    run, record = tmp_path / "Makefile", tmp_path / "results" / "runs" / "a" / "record.json"
    record.parent.mkdir(parents=True)
    run.write_bytes(b"run:\n\techo\n")
    record.write_bytes(b"{\r\n}\n")
    (tmp_path / ".gitattributes").write_bytes((ROOT / ".gitattributes").read_bytes())
    windows = ("-c", "core.autocrlf=true", "-c", "core.eol=crlf", "-c", "core.safecrlf=false")
    before = {path: path.read_bytes() for path in (run, record)}
    commit(tmp_path, *windows)
    for path in before:
        path.unlink()
    git(*windows, "checkout", "-q", ".", folder=tmp_path)
    assert {path: path.read_bytes() for path in before} == before


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A repository of one commit, of what a package is built from."""
    folder = tmp_path_factory.mktemp("clone") / "era8"
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("era8", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    names = "LICENSE MANIFEST.in README.md pyproject.toml requirements.txt setup.py .gitattributes"
    for name in names.split():
        shutil.copy(ROOT / name, folder)
    commit(folder)
    return folder


@pytest.mark.process
def test_a_wheel_runs_the_notebooks_and_knows_its_commit(clone, tmp_path):
    head = git("rev-parse", "--short=9", "HEAD", folder=clone).strip()
    left = clone / "build" / "lib" / "era8" / "commit.py"  # by the wheel of an earlier commit
    left.parent.mkdir(parents=True)
    left.write_text('PACKED = "earlier"')
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "-w", tmp_path, clone], check=True)
    (wheel,) = tmp_path.glob("era8-*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(tmp_path / "site")
        books = [json.loads(file.read(n)) for n in file.namelist() if "ipynb/" in n]
    outputs = [o for book in books for c in book["cells"] for o in c.get("outputs", ())]
    assert len(books) == 3 and not outputs
    words = "run bn --data synthetic --epochs 1 --train-images 200 -p compare_skip false".split()
    code, _, errors = command(tmp_path, *words, env={"PYTHONPATH": str(tmp_path / "site")})
    assert code == 0, errors
    (folder,) = (tmp_path / "runs").iterdir()
    assert json.loads((folder / "record.json").read_text())["versions"]["commit"] == head
    assert (folder / "batch_norm.ipynb").read_text().count("image/png") == 10


@pytest.mark.process
def test_a_zip_and_a_source_archive_know_their_commit(clone, tmp_path):
    packed = subprocess.check_output(["git", "-C", str(clone), "archive", "HEAD"])
    (tmp_path / "zip.tar").write_bytes(packed)
    program = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", program, tmp_path], cwd=clone, check=True, capture_output=True
    )
    head = git("rev-parse", "HEAD", folder=clone).strip()
    for archive in tmp_path.glob("*.tar*"):
        with tarfile.open(archive) as file:
            names = file.getnames()
            (name,) = (name for name in names if name.endswith("era8/commit.py"))
            text = file.extractfile(name).read().decode()
        assert sum(Path(name).match("notebooks/*_norm.ipynb") for name in names) == 3
        said = {}
        exec(text, said)
        assert len(said["PACKED"]) >= 7 and head.startswith(said["PACKED"])
