"""What a package is given when it is built: the notebooks without outputs, and its commit."""

import json
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT))
from era8.commit import PACKED, find_commit  # noqa: E402


def stamp(package: Path) -> None:
    """Write the commit into a copy of the package, which may be a link to the original."""
    file = package / "commit.py"
    text = (ROOT / "era8" / file.name).read_text(encoding="utf-8")  # a copy may be filled
    file.unlink()
    file.write_text(text.replace(PACKED, find_commit(), 1), encoding="utf-8")


class Build(build_py):
    """Copies the package for a wheel; an editable install has the clone's own notebooks."""

    def run(self) -> None:
        """Copy the package, and give it what is to be with it."""
        super().run()
        if self.editable_mode:
            return
        package = Path(self.build_lib, "era8")
        stamp(package)
        (package / "ipynb").mkdir(exist_ok=True)
        for path in ROOT.glob("notebooks/*_norm.ipynb"):
            notebook = json.loads(path.read_text(encoding="utf-8"))
            for cell in notebook["cells"]:
                if cell["cell_type"] == "code":
                    cell |= {"outputs": [], "execution_count": None}
            (package / "ipynb" / path.name).write_text(json.dumps(notebook), encoding="utf-8")


class Pack(sdist):
    """Packs the sources, which MANIFEST.in adds the notebooks to."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """Copy the sources, and write their commit."""
        super().make_release_tree(base_dir, files)
        stamp(Path(base_dir, "era8"))


setup(cmdclass={"build_py": Build, "sdist": Pack})
