"""The pages: Markdown templates with named holes, filled with the numbers of the records.

A hole that nothing fills fails, and so does a number or a figure that no page uses.
"""

import re
import subprocess
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from matplotlib.figure import Figure
from torchinfo import summary

from benchmarks import report as speed
from era8 import figures
from era8.figures.style import FULL_NAMES
from era8.models import Session8Net
from era8.notebooks import NOTEBOOKS
from era8.tables import percent
from study import accuracy, effects, inside, norms_and_skips, optimizers, settings, teaching
from study.runs import ROOT, load_part
from study.statistics import holm

TEMPLATES = ROOT / "study" / "pages"
PAGES = (
    "README.md", "docs/accuracy.md", "docs/speed.md", "docs/sweeps.md", "docs/teaching.md",
)  # fmt: skip
NOTEBOOK = "study.md"  # its blocks conclude the sections of notebooks/study.ipynb
PLAY = "docs/play/index.html"  # published at the repository's own address, see .github/workflows
THEMES = {"light": "", "dark": "-dark"}  # by the ending of a picture's name
COLAB = "https://colab.research.google.com"
COMMAS = dict.fromkeys(["convolution", *FULL_NAMES.values()], "{:,}".format)
NUMBER = r"[−+]?[\d.,]+(?: %)?"
TOGETHER = re.compile(  # an interval, a mean with its spread, a percentage, a difference
    rf"\({NUMBER} to {NUMBER}\)|{NUMBER} ± {NUMBER}|\d %|[A-Z]N − (?:no )?\w+"
)


class Numbers(dict[str, Any]):
    """Numbers by name, which remembers which of them were asked for."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Begin with none asked for."""
        super().__init__(values)
        self.used: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        """Return a number and note that it is used."""
        value = super().__getitem__(name)
        self.used.add(name)
        return value


@cache
def collect() -> dict[str, Numbers]:
    """Return all numbers of the pages, from the records, by their section."""
    found = {
        "effects": {name: effects.measure(name) for name in effects.DECLARED},
        "norms": norms_and_skips.numbers(),
        "settings": settings.numbers(),
        "optimizers": optimizers.numbers(),
        "inside": inside.numbers(),
        "accuracy": accuracy.numbers(),
        "teaching": teaching.numbers(),
        "speed": speed.numbers(speed.load_results()),
        "run": describe_runs(),
    }
    return {name: Numbers(values) for name, values in found.items()}


def describe_runs() -> dict[str, Any]:
    """Return what the pages say of the runs and of the repository."""
    runs, repository = load_part(), read_repository()
    return {
        "count": len(runs),
        "family": (family := effects.collect_family()),
        "least_certain": max(holm(family.p)),
        "hours": runs.groupby(runs.device.str.partition(":")[0]).train_seconds.sum() / 3600,
        "gpu": load_part("long").device.iloc[0],
        "parameters": sum(p.numel() for p in Session8Net().parameters()),
        "summary": summarise_network().to_string(index=False, formatters=COMMAS),
        "badges": {n: badge(repository, name) for n, name in NOTEBOOKS.items() if repository},
        "repository": repository,
        "play": "https://{}.github.io/{}/".format(*repository.split("/")) if repository else PLAY,
    }


def summarise_network() -> pd.DataFrame:
    """Return the layers of the network as torchinfo counts them: a column of each norm's own."""
    table = pd.DataFrame()
    for norm, name in FULL_NAMES.items():
        found = summary(Session8Net(norm), (1, 3, 32, 32), mode="eval", device="cpu", verbose=0)
        layers = [layer for layer in found.summary_list if layer.depth == 1]
        table["layer"] = [layer.var_name for layer in layers]
        table["output"] = ["×".join(map(str, layer.output_size[1:])) for layer in layers]
        table["convolution"] = [layer.num_params for layer in layers]
        norms = [[part for part in x.children if "Norm" in part.class_name] for x in layers]
        table[name] = [sum(part.num_params for part in parts) for parts in norms]
        table["convolution"] -= table[name]
    table.loc[len(table)] = ["all", "", *table.iloc[:, 2:].sum()]
    return table


def list_pictures() -> dict[str, Callable[[], Figure]]:
    """Return the functions that draw the pictures of the pages, by name."""
    return {
        "axes": figures.plot_axes,
        "network": lambda: figures.plot_network(Session8Net()),
        "optimizers": optimizers.draw_optimizers,
        "skips": norms_and_skips.draw_skips,
        "contrast": inside.draw_contrast,
        **speed.list_pictures(speed.load_results()),
        **norms_and_skips.list_examples(),
    }


class Writer:
    """Fills the templates, and knows what it has used.

    Args:
        numbers: what :func:`collect` returns.
        pictures: names of the pictures that there are.
    """

    def __init__(self, numbers: dict[str, Numbers], pictures: Mapping[str, Any]) -> None:
        """Fill nothing yet."""
        self.numbers, self.pictures, self.shown = numbers, pictures, set[str]()
        self.templates = Environment(
            loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
        )  # fmt: skip
        self.templates.filters |= {
            "percent": percent, "points": points, "interval": interval, "table": to_markdown,
            "size": size, "fold": fold, "p": effects.say_p,
            "effects": lambda rows: to_markdown(effects.show(rows)),
        }  # fmt: skip
        findings = self.templates.get_template("findings.md").make_module(numbers)
        self.templates.globals |= {
            "picture": self.show, "compare": self.compare, "findings": findings
        }  # fmt: skip

    def write_page(self, page: str) -> str:
        """Return the text of one of ``PAGES``."""
        return typeset(self.templates.get_template(page.split("/")[-1]).render(self.numbers))

    def conclude(self, section: str) -> str:
        """Return the conclusion of a section of the study's notebook."""
        template = self.templates.get_template(NOTEBOOK)
        context = template.new_context(self.numbers)
        return typeset("".join(template.blocks[section](context)).strip())

    def write_all(self) -> dict[str, str]:
        """Return the text of every page by its path.

        Raises:
            ValueError: if a number or a picture is used by no page.
        """
        texts = {page: self.write_page(page) for page in PAGES}
        for section in self.templates.get_template(NOTEBOOK).blocks:
            self.conclude(section)
        unused = [
            f"{section}.{name}"
            for section, values in self.numbers.items()
            for name in values.keys() - values.used
        ]
        unused += [f"picture {name}" for name in self.pictures.keys() - self.shown]
        if unused:
            raise ValueError(f"no page uses {', '.join(sorted(unused))}")
        return texts

    def compare(self, *names: str) -> str:
        """Return a table of effects."""
        return to_markdown(effects.show(pd.concat(self.numbers["effects"][n] for n in names)))

    @pass_context
    def show(self, context: Context, name: str, alt: str) -> str:
        """Return a picture in its light and its dark version."""
        if name not in self.pictures:
            raise ValueError(f"there is no picture {name!r}; there are {', '.join(self.pictures)}")
        self.shown.add(name)
        top = "" if context.name == "README.md" else "../"  # from the page
        light, dark = (f"{top}figures/{name}{ending}.png" for ending in THEMES.values())
        return (
            f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
            f'<img alt="{alt}" src="{light}"></picture>'
        )


def points(difference: Any, decimals: int = 1) -> str:
    """Return a difference of fractions, or that of an effect, in points, with its sign."""
    return f"{100 * getattr(difference, 'difference', difference):+z.{decimals}f}"


def size(difference: Any) -> str:
    """Return the size of a difference in points, without its sign."""
    return points(difference)[1:]


def interval(row: Any, decimals: int = 1) -> str:
    """Return a difference with its interval, in points; ends that round to 0 keep their sign."""
    low, high = (f"{100 * end:+.{decimals}f}" for end in (row.low, row.high))
    return f"{points(row.difference, decimals)} ({low} to {high})"


def to_markdown(table: pd.DataFrame) -> str:
    """Return a table in Markdown: the first column to the left, the others to the right."""
    align = ["left", *["right"] * (len(table.columns) - 1)]
    return table.to_markdown(index=False, disable_numparse=True, colalign=align)


def fold(text: str, summary: str) -> str:
    """Return Markdown that stays folded until its summary is clicked."""
    return f"<details><summary>{summary}</summary>\n\n{text}\n\n</details>"


def typeset(text: str) -> str:
    """Give numbers outside code a true minus, and break no line within what ``TOGETHER`` finds."""
    code = r"(```.*?```|`.*?`|</?[a-z][^>]*>)"
    parts = re.split(code, text, flags=re.DOTALL)
    for i, part in enumerate(parts[::2]):
        part = re.sub(r"(?<![\w-])-(?=\d)", "−", part)
        parts[2 * i] = TOGETHER.sub(lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), part)
    return "".join(parts)


def badge(repository: str, notebook: str) -> str:
    """Return the link that opens a notebook in Colab."""
    link = open_in_colab(repository, notebook)
    return f"[![Open {notebook} in Colab]({COLAB}/assets/colab-badge.svg)]({link})"


def open_in_colab(repository: str, notebook: str) -> str:
    """Return the address of a notebook in Colab."""
    return f"{COLAB}/github/{repository}/blob/main/notebooks/{notebook}"


def read_repository() -> str:
    """Return the repository's address on GitHub, owner/name, or "" while none is known.

    It is the one that pyproject.toml names, else that of the clone's own origin, so that the
    badges of a fork open the fork.

    Raises:
        ValueError: if pyproject.toml names something else.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    named = project["tool"]["era8"]["repository"]
    if named and not re.fullmatch(r"[\w.-]+/[\w.-]+", named):
        raise ValueError(f"repository in pyproject.toml must be owner/name; got {named!r}")
    command = ["git", "-C", str(ROOT), "remote", "get-url", "origin"]
    origin = "" if named else subprocess.run(command, capture_output=True, text=True).stdout
    found = re.search(r"github\.com[/:]([\w.-]+/[\w.-]+?)(\.git)?/?\s*$", origin)
    return named or (found[1] if found else "")


def conclude(section: str) -> Any:
    """Show the conclusion of a section, in the study's notebook."""
    from IPython.display import Markdown

    return Markdown(Writer(collect(), list_pictures()).conclude(section))
