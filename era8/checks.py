"""What an argument may be: returned as plain Python; all else is refused in one sentence.

numpy's numbers and bools are taken, as loops over a table give them; bools are no numbers.
"""

import operator
import reprlib
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

MOST = 2**63 - 1  # of a whole number, as torch holds one
BOOLS = (bool, np.bool_)

SHORT = reprlib.Repr()  # cuts what is nested too, before it is written
SHORT.maxlevel, SHORT.maxstring, SHORT.maxother = 3, 200, 200

KINDS: dict[str, tuple[Any, Any]] = {  # how a string is read as each, and what else is taken
    "int": (int, operator.index),
    "float": (float, float),
    "bool": (lambda text: {"true": True, "false": False}[text.lower()], bool),
    "str": (str, None),
}


def parse(name: str, value: Any, kind: str) -> Any:
    """Return a value as an int, float, bool or str; a string is parsed."""
    plain = _plain(value, kind)
    if plain is None:
        allowed = "true or false" if kind == "bool" else f"of type {kind}"
        raise ValueError(f"{name} must be {allowed}; got {show(value)}")
    return plain


def _plain(value: Any, kind: str) -> Any:
    """Return a value as Python's own of a kind, or None if it is not of that kind."""
    parse, take = KINDS[kind]
    try:
        if isinstance(value, str):
            return parse(value)
        return take(value) if isinstance(value, BOOLS) == (kind == "bool") else None
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def show(value: Any) -> str:
    """Return what was given as a message shows it, however long or deep it is."""
    try:
        text = " ".join(SHORT.repr(value).split())
    except ValueError:  # Python writes no number of more than 4,300 digits
        text = "a number of more than 4,300 digits"
    return text if len(text) <= 100 else f"{text[:100]}..."


def one_of(name: str, value: Any, allowed: Iterable[str]) -> str:
    """Return one of the words that are allowed."""
    words = list(allowed)
    if not isinstance(value, str) or value not in words:
        raise ValueError(f"{name} must be one of {', '.join(words)}; got {show(value)}")
    return words[words.index(value)]


def own_class(setting: str, name: str, base: type, taken: Iterable[str]) -> type:
    """Return the class that ``module:Class`` names; the module may lie in the current folder.

    Its name must be none of those taken, for a run is known by it.
    """
    module, _, kind = name.partition(":")
    if "" not in sys.path:  # the command era8 has its own folder there instead
        sys.path.append("")
    try:
        found = getattr(import_module(module), kind)
    except (Exception, SystemExit) as error:  # it is anybody's code
        reason = str(error) or type(error).__name__
        raise ValueError(f"{setting} {show(name)} cannot be imported: {reason}") from None
    own = isinstance(found, type) and issubclass(found, base) and found.__name__ == kind
    if not own or found is base:
        wanted = f"{base.__module__}.{base.__name__}"
        raise ValueError(f"{setting} must name a subclass of {wanted}; got {show(name)}")
    check_name(setting, name, taken)
    return found


def check_name(setting: str, name: str, taken: Iterable[str]) -> None:
    """Raise a ValueError if the class of ``module:Class`` has a name that is taken."""
    if name.rpartition(":")[2] in taken:
        raise ValueError(
            f"a {setting} of your own must not be called as one of era8's; got {show(name)}; "
            "rename its class"
        )


def flag(name: str, value: Any) -> bool:
    """Return a bool; the string "false" of papermill's ``-p skip false`` is none."""
    if not isinstance(value, BOOLS):
        raise ValueError(f"{name} must be True or False; got {show(value)}")
    return bool(value)


def check_int(name: str, value: Any, low: int, high: int = MOST) -> int:
    """Return a whole number from ``low`` to ``high``, both included."""
    number = None if isinstance(value, str) else _plain(value, "int")
    if number is None or not low <= number <= high:
        large = high < MOST or (number or low) > high
        limits = f"from {low} to {high:,}" if large else f"of at least {low}"
        raise ValueError(f"{name} must be a whole number {limits}; got {show(value)}")
    return number


def check_real(name: str, value: Any, below: float = 1e15, zero: bool = False) -> float:
    """Return a positive number below a limit; ``zero`` may be allowed as well."""
    number = None if isinstance(value, str) else _plain(value, "float")
    if number is None or not (number > 0 or (zero and number == 0)) or not number < below:
        least = "at least" if zero else "above"
        raise ValueError(
            f"{name} must be a number {least} 0 and below {below:g}; got {show(value)}"
        )
    return number + 0.0  # that of -0.0 is 0.0


def folder(name: str, value: Any) -> Path:
    """Return the path of a folder for results, relative if it lies in the current one."""
    try:
        path = Path(value).expanduser().resolve()
        fits = value and all(len(part.encode()) <= 255 for part in path.parts)
        if not fits or any(p.exists() and not p.is_dir() for p in (path, *path.parents)):
            raise ValueError
        return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    except (TypeError, ValueError, RuntimeError, OSError):  # such as ~ of nobody's home
        raise ValueError(
            f"{name} must be a folder that is there or can be made, such as runs; got {show(value)}"
        ) from None
