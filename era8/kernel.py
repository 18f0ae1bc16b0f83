"""Inside a notebook: its parameters are checked, and an expected error is one sentence."""

import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from era8 import checks
from era8.device import choose_device
from era8.pictures import read_picture
from era8.pretrained import MODELS
from era8.recipe import OPTIMIZERS
from era8.run import KINDS, Run, rename

NOTEBOOKS_FOLDER = Path(__file__).parents[1] / "notebooks"  # of a clone
if not (NOTEBOOKS_FOLDER / "batch_norm.ipynb").is_file():
    NOTEBOOKS_FOLDER = Path(__file__).parent / "ipynb"  # which setup.py puts into a wheel
PARAMETERS: dict[str, Any] = {  # what a notebook may have, beside the settings of a run
    "compare_skip": True, "device": "auto", "data_dir": "", "out_dir": "runs", "picture": "",
    "pretrained": False, "theme": "light",
}  # fmt: skip
THEMES = ("light", "dark")  # of era8.figures, which take a second to import


def start(norm: str, values: dict[str, Any]) -> int:
    """Check a notebook's parameters; from here on an error that era8 raises is one sentence.

    ``values`` are the notebook's ``globals()``: a number or a bool that is given as text, as
    papermill's ``-p skip false`` does, is replaced by what it means. Returns the number of groups,
    1 where it has no meaning.

    Raises:
        ValueError: if nothing could be trained with a parameter.
    """
    explain_errors()
    _check_injected(values)
    check_values(norm, values)
    if Path.cwd() == NOTEBOOKS_FOLDER and not values["out_dir"].startswith(".."):
        # JupyterLab starts there, the commands beside it
        values["out_dir"] = os.path.join("..", os.path.expanduser(values["out_dir"]))
    return values.get("groups", 1)


def _check_injected(values: dict[str, Any]) -> None:
    """Refuse a name that papermill has set and that the cell of parameters before it has not."""
    cells = values.get("In", [])
    for before, cell in zip(cells, cells[1:], strict=False):
        if cell.startswith("# Parameters\n"):  # papermill's own
            known, given = (re.findall(r"(?m)^(\w+) *[:=]", source) for source in (before, cell))
            for name in given:
                if rename(name) not in known:
                    raise ValueError(
                        f"{checks.show(name)} is no parameter of this notebook; it has "
                        f"{', '.join(known)}"
                    )
                values[rename(name)] = values[name]


def check_values(norm: str, values: dict[str, Any]) -> None:
    """Let parameters of a notebook be of their types, and refuse what nothing is trained with.

    Raises:
        ValueError: says which one, and what is allowed.
        FileNotFoundError: if there is no such image.
    """
    kinds = KINDS | {name: type(default).__name__ for name, default in PARAMETERS.items()}
    for name in sorted(kinds.keys() & values.keys() - {"data"}):  # that are the images, once loaded
        if values[name] is not None or name not in OPTIMIZERS["sgd"]:  # None: the optimizer's own
            values[name] = checks.parse(name, values[name], kinds[name])
    Run(**settings_of(norm, values)).check()
    choose_device(values["device"])
    checks.one_of("theme", values.get("theme", "light"), THEMES)
    if values.get("picture"):  # it is read after hours of training
        read_picture(values["picture"])
    if values.get("pretrained"):
        if values["data_dir"] == "synthetic" or values.get("val_images"):
            raise ValueError("pretrained must be False unless CIFAR-10's test images are tested on")
        if values.get("model", MODELS[0]) not in MODELS or (
            not values.get("skip", True) or values.get("groups", 2) != 2
        ):
            raise ValueError(
                f"pretrained must be False unless the model is {' or '.join(MODELS)}, with skips "
                "and two groups: no other network is kept"
            )
    checks.folder("out_dir", values["out_dir"])


def settings_of(norm: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a run among the parameters of a norm's notebook."""
    names = KINDS.keys() - {"data"}  # that are the images, once loaded
    return {n: v for n, v in values.items() if n in names and v is not None} | {"norm": norm}


def show_source(thing: Callable[..., Any]) -> Any:
    """Show the source of a function or of a class as code, without what documents it."""
    from IPython.display import Markdown

    code = re.sub(r' *"""[\s\S]*?"""\n', "", inspect.getsource(thing))
    return Markdown(f"```python\n{code.strip()}\n```")


def explain_errors() -> None:
    """Let the kernel show errors that era8 raises, and the stop button, as one sentence.

    Errors of other code keep their traceback: they are not expected. Elsewhere nothing happens.
    """
    if "IPython" not in sys.modules:
        return
    from IPython import get_ipython

    if shell := get_ipython():
        shell.set_custom_exc((Exception, KeyboardInterrupt), _show)


def _show(
    shell: Any, kind: type, error: BaseException, trace: TracebackType, tb_offset: Any = None
) -> None:
    """Show an error that era8 raised as one sentence, and any other with its traceback."""
    *_, (frame, _) = traceback.walk_tb(trace)
    raised_by = frame.f_globals.get("__name__", "")
    if isinstance(error, KeyboardInterrupt):
        sentence = f"{str(error) or 'stopped'}; run this cell again to resume".capitalize()
    elif raised_by.split(".")[0] == "era8":
        sentence = f"{kind.__name__}: {error}"
    else:
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
        return
    shell._showtraceback(kind, error, [sentence])  # as an error: papermill must see one
