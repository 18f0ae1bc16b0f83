"""README, docs/, figures/ and notebooks/study.ipynb, rebuilt from results/: python -m study."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import nbformat

from era8.__main__ import Command
from era8.disk import atomic_write
from era8.figures.style import theme
from era8.notebooks import NOTEBOOKS, NOTEBOOKS_FOLDER, execute_into, publish
from era8.pretrained import WEIGHTS as PRETRAINED
from era8.records import load_run
from study.pages import (
    THEMES,
    Writer,
    badge,
    collect,
    list_pictures,
    open_in_colab,
    read_repository,
)
from study.play import PAGE, write_page
from study.runs import ROOT, load_part
from study.students import write_students

STUDY = NOTEBOOKS_FOLDER / "study.ipynb"
FIGURES = ROOT / "figures"
SHIPPED = {"session8": "long", "dilated": "accurate"}  # the part of each network


@click.command(cls=Command, help="Rebuild README, docs, figures and study.ipynb from results/.")
def main() -> None:
    """Rebuild the pages, their figures and the study's notebook; all of them, or none.

    Raises:
        ValueError: if a record is missing or damaged, a template has a hole that nothing fills, or
            a number or a figure is used nowhere.
        RunError: if a cell of the notebook raised.
    """
    with TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        # on another core; all is done before anything is written
        studied = pool.submit(execute_into, Path(folder), STUDY, cwd=STUDY.parent)
        texts = Writer(collect(), list_pictures()).write_all() | {PAGE: write_page()}
        files = {ROOT / page: text.encode() for page, text in texts.items()}
        files |= draw_all() | collect_weights()
        publish(studied.result(), STUDY)
    for file in set(FIGURES.glob("*.png")) - set(files):
        file.unlink()  # of a figure that is no more
    for file, content in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as path:
            path.write_bytes(content)
    for name in NOTEBOOKS.values():
        stamp(NOTEBOOKS_FOLDER / name, read_repository())
    write_students()


def draw_all() -> dict[Path, bytes]:
    """Return every picture of the pages, light and dark, by its path."""
    drawn = {}
    for kind, ending in THEMES.items():
        with theme(kind):
            for name, draw in list_pictures().items():
                buffer = BytesIO()
                draw().savefig(buffer, format="png", dpi=150)
                drawn[FIGURES / f"{name}{ending}.png"] = buffer.getvalue()
    return drawn


def collect_weights() -> dict[Path, bytes]:
    """Return the networks that come with the library, and what the study reached, by their paths.

    The networks are those of seed 0 with skips, whose weights are kept beside their records.
    """
    files, reference = {}, {}
    for name, part in SHIPPED.items():
        runs = load_part(part).query("norm != 'none'")
        for (norm, skip), some in runs.groupby(["norm", "skip"]):
            folder = Path(some[some.seed == 0].folder.item())
            run, accuracy = load_run(folder), some.test_accuracy
            reference[f"{name}-{norm}-{'with' if skip else 'without'}"] = {
                "mean": accuracy.mean(), "std": accuracy.std(), "seeds": len(some),
                "settings": run.settings | {"precision": "auto"},
            }  # fmt: skip
            if skip:
                files[f"{name}-{norm}.pt"] = (folder / "weights.pt").read_bytes()
                files[f"{name}-{norm}.json"] = to_json(asdict(run))
    files["reference.json"] = to_json(reference)
    return {PRETRAINED / name: content for name, content in files.items()}


def to_json(values: dict[str, Any]) -> bytes:
    """Return the content of a JSON file."""
    return f"{json.dumps(values, indent=1)}\n".encode()


def stamp(notebook: Path, repository: str) -> None:
    """Write the repository's address into a notebook, and a badge if there is an address.

    Beside the badge are links to the other notebooks: Colab follows none of those in the text.
    """
    content = nbformat.read(notebook, as_version=4)
    title, setup = content.cells[0], content.cells[2]
    names = [name for name in (*NOTEBOOKS.values(), STUDY.name) if name != notebook.name]
    others = [f"[{name}]({open_in_colab(repository, name)})" for name in names]
    links = " · ".join([badge(repository, notebook.name), *others]) + "\n\n" if repository else ""
    title.source = links + re.sub(r"^\[!\[.*\n\n", "", title.source)
    setup.source = re.sub(r'^repository = ".*?"', f'repository = "{repository}"', setup.source)
    with atomic_write(notebook) as path:
        nbformat.write(content, path)


if __name__ == "__main__":
    main(prog_name="python -m study")
