"""The README's tables and links, made from the records."""

import re
import tomllib
from pathlib import Path

import nbformat
import pandas as pd
from torchinfo import summary

from benchmarks import report as bench_report
from benchmarks import scaling_report as scaling
from era8.figures.style import FULL_NAMES as NAMES
from era8.models import Session8Net
from era8.notebooks import NOTEBOOKS
from era8.records import Record, whole
from era8.tables import percent
from study import accurate, fast, findings
from study import effects as study_effects
from study import epochs as study_epochs
from study import runs as study
from study import tables as study_tables

ROOT = Path(__file__).parents[1]
COLAB = "https://colab.research.google.com"
NUMBER = r"[−+]?[\d.,]+(?: %)?"
TOGETHER = re.compile(  # an interval, a mean with its spread, a percentage, a difference
    rf"\({NUMBER} to {NUMBER}\)|{NUMBER} ± {NUMBER}|\d %|[A-Z]N − (?:no )?\w+"
)


def render(readme: str, records: dict[tuple[str, bool], Record]) -> str:
    """Return the README's text with every marked section made anew from the records."""
    runs, long_runs = study.load_part("norms and skips"), study.load_long_runs()
    sections = {
        "badges": _badges(),
        "findings": findings.describe(
            long_runs,
            runs,
            study.load_part("depth"),
            study.load_layer_norms(),
            study.load_part("groups"),
            study.load_part("batch sizes"),
            study.load_mechanisms(),
        ),
        "results": study_effects.tabulate_long_runs(long_runs),
        "long effects": study_effects.describe_effects(long_runs),
        "long rates": study_tables.tabulate_long_rates(study.load_part("long learning rates")),
        "search": _search(),
        "time": _time(records),
        "effects": study_effects.describe_effects(runs),
        "intervals": study_effects.describe_intervals(study.skip_effects(long_runs)),
        "depth": study_effects.describe_effects(study.load_part("depth")),
        "layer norms": study_effects.tabulate_layer_norms(study.load_layer_norms()),
        "lead": study_epochs.describe_lead(study_epochs.load_epochs(long_runs)),
        "rates": study_tables.tabulate_rates(study.load_part("learning rates")),
        "groups": study_tables.describe_groups(study.load_part("groups")),
        "batch sizes": study_effects.tabulate_batch_sizes(study.load_part("batch sizes")),
        "batch rates": study_tables.tabulate_batch_rates(study.load_part("batch learning rates")),
        "mechanisms": study_tables.describe_mechanisms(study.load_mechanisms()),
        "study time": study_tables.describe_time(study.load_part()),
        "accurate": accurate.tabulate_accurate(
            accurate.load_accurate(), long_runs[long_runs["skip"]]
        ),
        "limit": accurate.describe_limit(accurate.load_limit()),
        "candidates": accurate.tabulate_candidates(accurate.load_candidates()),
        "fast": fast.render(fast.summarise(fast.load_fast())),
        "scaling": scaling.render(records.values()),
        "precision": study_effects.describe_precision(study.load_precisions()),
        "speed": bench_report.render(bench_report.load_results()),
        **{f"summary {norm}": _summary(norm) for norm in NAMES},
    }
    for name, content in sections.items():
        start, end = f"<!-- {name} -->", f"<!-- end {name} -->"
        before, found_start, rest = readme.partition(start)
        _, found_end, after = rest.partition(end)
        if not (found_start and found_end):
            raise ValueError(f"README.md must have the section {start} ... {end}")
        readme = f"{before}{start}\n{typeset(content)}\n{end}{after}"
    return readme


def typeset(text: str) -> str:
    """Give numbers outside code a true minus, and break no line within what ``TOGETHER`` finds."""
    parts = re.split(r"(```.*?```|`.*?`)", text, flags=re.DOTALL)  # every other one is code
    for i, part in enumerate(parts[::2]):
        part = re.sub(r"(?<![\w-])-(?=\d)", "−", part)
        parts[2 * i] = TOGETHER.sub(lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), part)
    return "".join(parts)


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


def _search() -> str:
    table = pd.read_csv(ROOT / "results" / "search.csv")
    lines = [
        "| | optimizer | batch | learning rate | weight decay | shift | epochs | training | "
        "validation accuracy |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in table.itertuples():
        lines.append(
            f"| {NAMES[row.norm]} | {row.optimizer} | {row.batch_size} | {row.lr:g} | "
            f"{row.weight_decay:g} | {row.crop} | {row.epochs} | "
            f"{percent(row.train_accuracy, 2)} | {percent(row.val_accuracy, 2)} |"
        )
    return f"{len(table)} runs with skips, one seed.\n\n" + "\n".join(lines)


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
