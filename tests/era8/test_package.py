"""What strangers get: one version everywhere, and files that a clone leaves as they are."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

import era8
from era8.device import versions

ROOT = Path(__file__).parents[2]


def git(*words, **options):
    command = ["git", "-C", str(ROOT), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, **options).stdout


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
    nobody = {
        f"GIT_{who}_{what}": "era8" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    before = {path: path.read_bytes() for path in (run, record)}
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        command = ["git", "-C", str(tmp_path), *windows, *words]
        subprocess.run(command, check=True, env=os.environ | nobody)
    for path in before:
        path.unlink()
    subprocess.run(["git", "-C", str(tmp_path), *windows, "checkout", "-q", "."], check=True)
    assert {path: path.read_bytes() for path in before} == before
