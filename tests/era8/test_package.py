"""What strangers get: one version everywhere."""

from pathlib import Path

import yaml

import era8
from era8.device import versions

ROOT = Path(__file__).parents[2]


def test_the_version_is_said_in_one_place():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert versions()["era8"] == citation["version"] == era8.__version__
    assert changes.split("\n## ")[1].startswith(f"{era8.__version__}\n")
