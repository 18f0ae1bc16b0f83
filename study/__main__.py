"""README, docs/, figures/ and notebooks/study.ipynb, rebuilt from results/: python -m study."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import nbformat
from matplotlib.figure import Figure
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from era8.__main__ import Command
from era8.disk import atomic_write
from era8.figures.style import theme
from era8.notebooks import NOTEBOOKS, NOTEBOOKS_FOLDER, execute, publish
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
SHIPPED = {"session8": "long", "dilated": "accurate"}  # the part of each network


def build() -> None:
    """Rebuild the pages, their figures and the study's notebook; all of them, or none.

    Raises:
        ValueError: if a record is missing or damaged, a template has a hole that nothing fills, or
            a number or a figure is used nowhere.
    """
    with TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        executed = Path(folder, STUDY.name)
        # on another core; both are done before anything is written
        studied = pool.submit(execute, STUDY, executed, cwd=STUDY.parent)
        texts = Writer(collect(), list_pictures()).write_all()
        texts[PAGE] = write_page()
        pictures = draw_all()
        try:
            studied.result()
        except (PapermillExecutionError, DeadKernelError) as error:
            reason = str(error).strip().splitlines()[-1]
            raise ValueError(f"{STUDY.name} stopped: {reason}") from None
        publish(executed, STUDY)
    for name in {file.name for file in (ROOT / "figures").glob("*.png")} - set(pictures):
        (ROOT / "figures" / name).unlink()  # of a figure that is no more
    files = {f"figures/{name}": picture for name, picture in pictures.items()}
    for name, content in (files | {page: text.encode() for page, text in texts.items()}).items():
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(ROOT / name) as path:
            path.write_bytes(content)
    ship()
    for name in NOTEBOOKS.values():
        stamp(NOTEBOOKS_FOLDER / name, read_repository())
    write_students()


def draw_all() -> dict[str, bytes]:
    """Return every picture of the pages, light and dark, by the name of its file."""
    drawn = {}
    for name, draw in list_pictures().items():
        for kind, ending in THEMES.items():
            with theme(kind):
                drawn[f"{name}{ending}.png"] = encode(draw())
    return drawn


def ship() -> None:
    """Write the networks that come with the library, and what the study reached, to its weights/.

    Those are the runs of seed 0 with skips, whose weights are kept beside their records.
    """
    reference = {}
    for name, part in SHIPPED.items():
        runs = load_part(part)
        for (norm, skip), some in runs[runs.norm.isin(list(NOTEBOOKS))].groupby(["norm", "skip"]):
            accuracy, run = some.test_accuracy, load_run(some.folder.iloc[0])
            reference[f"{name}-{norm}-{'with' if skip else 'without'}"] = {
                "mean": accuracy.mean(), "std": accuracy.std(), "seeds": len(some),
                "settings": run.settings | {"seed": 0, "precision": "auto"},
            }  # fmt: skip
            for folder in map(Path, some[(some.seed == 0) & skip].folder):
                with atomic_write(PRETRAINED / f"{name}-{norm}.pt") as path:
                    path.write_bytes((folder / "weights.pt").read_bytes())
                with atomic_write(PRETRAINED / f"{name}-{norm}.json") as path:
                    path.write_text(json.dumps(asdict(load_run(folder)), indent=1) + "\n")
    with atomic_write(PRETRAINED / "reference.json") as path:
        path.write_text(json.dumps(reference, indent=1) + "\n")


def encode(figure: Figure) -> bytes:
    """Return a figure as a PNG."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


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


@click.command(cls=Command)
def main() -> None:
    """Rebuild README, docs/, figures/ and the study's notebook from results/."""
    build()


if __name__ == "__main__":
    main(prog_name="python -m study")
