"""The README's tables and figures, rebuilt from the records in results/."""

import re
import tomllib
from pathlib import Path

import nbformat
import pandas as pd
from torchinfo import summary

from era8 import bench_plots, bench_report, plots
from era8.batch import NOTEBOOKS, NOTEBOOKS_FOLDER
from era8.data import load_cifar10
from era8.model import Session8Net
from era8.recipe import ACCURACY_GOAL, EPOCH_LIMIT, PARAMETER_LIMIT
from era8.runs import Record, load_run, whole
from era8.style import percent

ROOT = Path(__file__).parents[1]
NAMES = {"bn": "BatchNorm", "gn": "GroupNorm", "ln": "LayerNorm"}
COLAB = "https://colab.research.google.com"


def reaches_goal(runs: pd.DataFrame) -> pd.Series:
    """Return, for each run of :func:`era8.load_runs`, whether all three conditions hold."""
    enough = (runs.data == "cifar10") & (runs.test_accuracy.astype(float) >= ACCURACY_GOAL)
    return enough & (runs.n_parameters < PARAMETER_LIMIT) & (runs.epochs < EPOCH_LIMIT)


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the table that a batch of runs ends with, one row per run."""
    return pd.DataFrame(
        {
            "norm": runs.norm,
            "skips": runs["skip"].map({True: "yes", False: "no"}),
            "data": runs.data,
            "parameters": runs.n_parameters.map("{:,}".format),
            "epochs": runs.epochs,
            "train accuracy": runs.train_accuracy.map(lambda fraction: percent(fraction, 2)),
            "test accuracy": runs.test_accuracy.astype(float).map(
                lambda fraction: percent(fraction, 2)
            ),
            "seconds": runs.train_seconds.round().astype(int),
            "conditions": reaches_goal(runs).map({True: "hold", False: "do not hold"}),
        }
    )


def build(results: Path) -> None:
    """Rebuild the README's tables, its figures and its links from the records of three runs.

    Args:
        results: holds ``bn``, ``gn`` and ``ln``, each as a notebook's ``out_dir`` is left.

    Raises:
        ValueError: if a record is missing, damaged, or of synthetic pictures.
    """
    records = load_reference(results)
    readme = ROOT / "README.md"
    text = render(readme.read_text(), records)
    images = load_cifar10(device="cpu").test
    figures = {
        "axes": plots.plot_axes(*NAMES),
        "curves": plots.plot_curves({norm: records[norm, True] for norm in NAMES}),
        "skips": plots.plot_skips(records.values()),
        "per_class": plots.plot_per_class({norm: records[norm, True] for norm in NAMES}),
    }
    for norm in NAMES:
        record = records[norm, True]
        pair = {"with skips": record, "without": records[norm, False]}
        figures[f"{norm}_curves"] = plots.plot_curves(pair)
        figures[f"{norm}_confusion"] = plots.plot_confusion(record)
        mistakes = pd.DataFrame(record.misclassified)
        figures[f"{norm}_misclassified"] = plots.plot_misclassified(images, mistakes)
    if speed := bench_report.load_results():
        figures |= bench_plots.draw_all(speed)
    (ROOT / "figures").mkdir(exist_ok=True)
    for name, figure in figures.items():
        with whole(ROOT / "figures" / f"{name}.png") as path:
            figure.savefig(path, format="png", dpi=150)
    with whole(readme) as path:
        path.write_text(text)
    for name in NOTEBOOKS.values():
        stamp(NOTEBOOKS_FOLDER / name, read_repository())


def load_reference(results: Path) -> dict[tuple[str, bool], Record]:
    """Return the six records behind the README, by norm and skip."""
    records = {}
    for norm in NAMES:
        for folder, skip in ((results / norm, True), (results / norm / "without_skip", False)):
            record = load_run(folder)
            if (record.norm, record.skip, record.data) != (norm, skip, "cifar10"):
                raise ValueError(
                    f"{folder} must hold a run of {norm} with skip={skip} on cifar10; it holds "
                    f"{record.norm} with skip={record.skip} on {record.data}"
                )
            records[norm, skip] = record
    return records


def render(readme: str, records: dict[tuple[str, bool], Record]) -> str:
    """Return the README's text with every marked section made anew from the records."""
    sections = {
        "badges": _badges(),
        "results": _results(records),
        "skips": _skips(records),
        "search": _search(),
        "time": _time(records),
        "speed": bench_report.render(bench_report.load_results()),
        **{f"summary {norm}": _summary(norm) for norm in NAMES},
    }
    for name, content in sections.items():
        start, end = f"<!-- {name} -->", f"<!-- end {name} -->"
        before, found_start, rest = readme.partition(start)
        _, found_end, after = rest.partition(end)
        if not (found_start and found_end):
            raise ValueError(f"README.md must have the section {start} ... {end}")
        readme = f"{before}{start}\n{content}\n{end}{after}"
    return readme


def stamp(notebook: Path, repository: str) -> None:
    """Write the repository's address into a notebook, and a badge if there is an address."""
    content = nbformat.read(notebook, as_version=4)
    title, setup = content.cells[0], content.cells[2]
    badge = f"{_badge(repository, notebook.name)}\n\n" if repository else ""
    title.source = badge + re.sub(r"^\[!\[.*\n\n", "", title.source)
    setup.source = re.sub(r'^repository = ".*?"', f'repository = "{repository}"', setup.source)
    with whole(notebook) as path:
        nbformat.write(content, path)


def read_repository() -> str:
    """Return the repository's address on GitHub, owner/name, or "" while none is set."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return settings["tool"]["era8"]["repository"]


def _badge(repository: str, notebook: str) -> str:
    picture = f"{COLAB}/assets/colab-badge.svg"
    link = f"{COLAB}/github/{repository}/blob/main/notebooks/{notebook}"
    return f"[![Open {notebook} in Colab]({picture})]({link})"


def _badges() -> str:
    if not (repository := read_repository()):
        return ""
    return "\n".join(f"{NAMES[n]} {_badge(repository, file)}" for n, file in NOTEBOOKS.items())


def _results(records: dict[tuple[str, bool], Record]) -> str:
    lines = [
        "| | parameters | epochs | batch | training accuracy | test accuracy | without skips |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for norm, name in NAMES.items():
        record, without = records[norm, True], records[norm, False]
        lines.append(
            f"| {name} | {record.n_parameters:,} | {record.epochs} | {record.batch_size} | "
            f"{percent(record.train_accuracy, 2)} | **{percent(record.accuracy, 2)}** | "
            f"{percent(without.accuracy, 2)} |"
        )
    return "\n".join(lines)


def _skips(records: dict[tuple[str, bool], Record]) -> str:
    effects = []
    for norm, name in NAMES.items():
        effect = 100 * (records[norm, True].accuracy - records[norm, False].accuracy)
        effects.append(f"{effect:+.2f} points with {name}")
    return f"In these runs the skips changed the test accuracy by {_join(effects)}."


def _search() -> str:
    table = pd.read_csv(ROOT / "results" / "search.csv")
    lines = [
        "| | batch | learning rate | weight decay | shift | training | validation accuracy |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in table.itertuples():
        lines.append(
            f"| {NAMES[row.norm]} | {row.batch_size} | {row.lr:g} | {row.weight_decay:g} | "
            f"{row.crop} | {percent(row.train_accuracy, 2)} | {percent(row.val_accuracy, 2)} |"
        )
    epochs = " or ".join(map(str, sorted(set(table.epochs))))
    return f"{len(table)} runs of {epochs} epochs with skips, one seed.\n\n" + "\n".join(lines)


def _time(records: dict[tuple[str, bool], Record]) -> str:
    by_machine: dict[str, list[float]] = {}
    for record in records.values():
        machine = f"{record.epochs} epochs on {record.device}, {record.precision}"
        by_machine.setdefault(machine, []).append(record.train_seconds / 60)
    times = [f"{sum(m) / len(m):.0f} minutes ({name})" for name, m in by_machine.items()]
    return f"One of the trainings above took {' or '.join(times)}."


def _summary(norm: str) -> str:
    table = summary(
        Session8Net(norm), (1, 3, 32, 32), col_names=("output_size", "num_params"),
        row_settings=("var_names",), mode="eval", device="cpu", verbose=0,
    )  # fmt: skip
    return f"```\n{table}\n```"


def _join(parts: list[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}"
