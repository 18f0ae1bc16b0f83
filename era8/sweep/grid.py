"""Grids of runs: from the command line or a YAML file to a list of runs."""

import itertools
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from era8.checks import parse, show
from era8.run import KINDS, Run, rename

Axes = Mapping[str, Sequence[Any]]  # the values of each setting
ASKED = {name: kind for name, kind in KINDS.items() if name != "data"}  # --data names the folder


class _Loader(yaml.SafeLoader):
    """Reads YAML in which no key is given twice, and whose scalars are what is written there.

    The type of a setting says what they mean: YAML 1.1 would take 010 for 8, and 1:30 for 90, and
    keep the last of two values silently.
    """

    yaml_implicit_resolvers = {
        first: [(tag, words) for tag, words in found if tag.endswith((":merge", ":null"))]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Return a mapping as it is written, once its keys are checked."""
        node = super().compose_mapping_node(anchor)
        keys = [rename(str(key.value)) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                line = node.start_mark.line + 1
                raise yaml.YAMLError(f"the mapping of line {line} has {key!r} twice; give it once")
        return node


def read_grid(path: str | os.PathLike) -> list[Axes]:
    """Read the grids of a YAML file, those of all its parts in turn; see :func:`read_parts`."""
    return [grid for grids in read_parts(path).values() for grid in grids]


def read_parts(path: str | os.PathLike) -> dict[str, list[Axes]]:
    """Read a YAML file of one grid, of a list of grids, or of either by the names of parts.

    A grid is a mapping of settings to values; a value is a single one, a list, or a range of
    whole numbers such as ``0..4``. What has no name is the part ``""``.

    Raises:
        ValueError: if the file is no such YAML.
        OSError: if it cannot be read.
    """
    if not Path(path).is_file():  # a pipe would be waited for
        raise FileNotFoundError(f"{path} must be a file of settings; a setting begins with --")
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
            reason = f"line {error.problem_mark.line + 1}: {error.problem}"
        raise ValueError(f"{path} is no YAML file: {reason}") from None
    parts = {"": _listed(content)}
    if isinstance(content, dict):  # a setting's values are no mappings
        named = {name: _listed(part) for name, part in content.items()}
        if any(isinstance(grid, dict) for grids in named.values() for grid in grids):
            parts = named
    for name, grids in parts.items():
        for grid in grids or [grids]:
            if not isinstance(grid, dict) or not grid:
                where = f" in part {name!r}" if name else ""
                raise ValueError(
                    f"{path} must hold settings and their values; got {show(grid)}{where}"
                )
    return parts


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def read_options(words: Sequence[str]) -> dict[str, list[str]]:
    """Read ``--norm bn gn --batch-size 32 128`` as the values of each setting.

    Raises:
        ValueError: if a value comes before the first setting.
    """
    axes: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            name = rename(name.replace("-", "_"))
            axes.setdefault(name, []).extend([value] if value else [])
        elif axes:
            axes[name].append(word)
        else:
            raise ValueError(f"a grid must begin with a setting such as --norm; got {show(word)}")
    return axes


def expand(grids: Iterable[Axes]) -> list[Run]:
    """Return the runs of all grids: each combination of the values once, in order.

    Raises:
        ValueError: if a setting is unknown, has no value or one that cannot be trained with.
    """
    runs: dict[str, Run] = {}
    for grid in grids:
        axes = {rename(name): _read_axis(rename(name), values) for name, values in grid.items()}
        for values in itertools.product(*axes.values()):
            run = Run(**dict(zip(axes, values, strict=True))).check()
            if runs.setdefault(run.name, run) != run:
                ((one, other), *_) = runs[run.name].difference(run).values()
                raise ValueError(
                    f"classes of one grid must have different names; got {one} and {other}"
                )
    return list(runs.values())


def _read_axis(name: str, values: Any) -> list[Any]:
    """Return the typed values of a setting; a range is spelled out."""
    if name not in ASKED:
        raise ValueError(f"{show(name)} is no setting of a run; there are {', '.join(ASKED)}")
    typed = list[Any]()
    for value in values if isinstance(values, list | tuple) else [values]:
        if ASKED[name] == "int" and (ends := re.fullmatch(r"(\d+)\.\.(\d+)", str(value))):
            first, last = map(int, ends.groups())
            if not first <= last < first + 1_000_000:
                raise ValueError(f"{name} must be a range such as 0..4; got {show(value)}")
            typed += range(first, last + 1)
        else:
            typed.append(parse(name, value, ASKED[name]))
    if not typed:
        raise ValueError(f"{name} must have at least one value")
    return typed
