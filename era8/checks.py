"""What an argument may be; whatever else is given is refused in one sentence."""

import math
from collections.abc import Callable, Iterable
from typing import Any

READERS: dict[str, Callable[[str], Any]] = {
    "int": int,
    "float": float,
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
}


def one_of(name: str, value: Any, allowed: Iterable[str]) -> None:
    """Refuse what is none of the words that are allowed."""
    words = list(allowed)
    if not isinstance(value, str) or value not in words:
        raise ValueError(f"{name} must be one of {', '.join(words)}; got {value!r}")


def flag(name: str, value: Any) -> None:
    """Refuse what is no bool, such as the string "false" of papermill's ``-p skip false``."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False; got {value!r}")


def whole(name: str, value: Any, low: int, high: int = 2**63 - 1) -> None:
    """Refuse what is no whole number from ``low`` to ``high``, both included."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        limits = f"from {low} to {high:,}" if high < 2**63 - 1 else f"of at least {low}"
        raise ValueError(f"{name} must be a whole number {limits}; got {value!r}")


def real(name: str, value: Any, below: float = math.inf, zero: bool = False) -> None:
    """Refuse what is no positive number below a limit; ``zero`` may be allowed as well."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not (value > 0 or (zero and value == 0)) or not value < below:
        least = "at least" if zero else "above"
        most = f"below {below}" if below < math.inf else "finite"
        raise ValueError(f"{name} must be a number {least} 0 and {most}; got {value!r}")


def read(name: str, value: Any, kind: str) -> Any:
    """Return a value that is to be an int, float, bool or str; a string is parsed."""
    try:
        if isinstance(value, str) and kind in READERS:
            return READERS[kind](value)
    except (ValueError, KeyError):
        pass
    else:
        if type(value).__name__ == kind or (type(value), kind) == (int, "float"):
            return value
    raise ValueError(f"{name} must be of type {kind}; got {value!r}")
