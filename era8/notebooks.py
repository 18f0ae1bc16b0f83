"""The three notebooks, run through papermill: checked parameters, progress, a folder per run.

What runs a notebook is imported when one is run: a sweep without notebooks needs none of it.
"""

import ast
import io
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from era8.checks import one_of
from era8.disk import atomic_write, claim
from era8.kernel import NOTEBOOKS_FOLDER, check_values
from era8.run import rename
from era8.tables import load_runs

REPORT = Path(__file__).with_name("report.ipynb")  # shows the runs of the folder that it is run in
NOTEBOOKS = {"bn": "batch_norm.ipynb", "gn": "group_norm.ipynb", "ln": "layer_norm.ipynb"}


class RunError(RuntimeError):
    """A notebook stopped; the message says why, in the words of the cell that raised."""

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind  # name of the error that the cell raised, "" if its kernel died


def find_notebook(norm: str) -> Path:
    """Return the notebook of a norm.

    Raises:
        ValueError: if no notebook is about this norm.
    """
    one_of("norm", norm, NOTEBOOKS)
    return NOTEBOOKS_FOLDER / NOTEBOOKS[norm]


def check_parameters(norm: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all parameters of a norm's notebook; a string is read as the parameter's type.

    Raises:
        ValueError: if a name is not a parameter of the notebook, or a value not of its type, or
            nothing could be trained with it.
    """
    notebook = find_notebook(norm)
    parameters = dict(_read_defaults(notebook))
    for name, value in ((rename(name), value) for name, value in given.items()):
        if name not in parameters:
            raise ValueError(
                f"{name!r} is not a parameter of {notebook.name}; it has {', '.join(parameters)}"
            )
        parameters[name] = value
    check_values(norm, parameters)
    return parameters


@cache  # a grid may have thousands of cells
def _read_defaults(notebook: Path) -> dict[str, Any]:
    import papermill

    known = papermill.inspect_notebook(_literal(notebook))
    return {name: ast.literal_eval(entry["default"]) for name, entry in known.items()}


def execute(*arguments: Any, **options: Any) -> None:
    """Execute a notebook as :func:`papermill.execute_notebook`; start its kernel again if need be.

    Jupyter chooses the ports of a kernel before the kernel takes them. If another process is first,
    as happens when many start at once, the kernel dies with nothing run (jupyter_client#487).

    Raises:
        RuntimeError: if the kernel did not start three times in a row.
        PapermillExecutionError, DeadKernelError: as papermill, if a cell raised or its kernel died.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError

    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # or each kernel warns of it
    options |= {"kernel_name": "python3", "progress_bar": False}
    options["extra_arguments"] = ["--log-level=CRITICAL"]
    for last in (False, False, True):
        try:
            return papermill.execute_notebook(*arguments, **options)
        except RuntimeError as error:
            if last or isinstance(error, DeadKernelError):
                raise


def _literal(path: Path) -> str:
    """Return a path as papermill takes it, which would fill in what stands in braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


class EpochLines(io.TextIOBase):
    """A file for a notebook's output, of which it hands on the lines that report an epoch."""

    def __init__(self, log: Callable[[str], Any]) -> None:
        self.log = log

    def write(self, text: str) -> int:
        """Find the lines in a piece of output; what moves ends in a carriage return."""
        for line in text.splitlines():
            if line.startswith("epoch") and line.endswith(" s"):
                self.log(line)
        return len(text)


def shows(executed: Path, parameters: Mapping[str, Any]) -> bool:
    """Return whether a notebook has been executed, and with some of its parameters as given."""
    try:
        said = json.loads(executed.read_bytes())["metadata"]["papermill"]["parameters"]
    except (OSError, ValueError, LookupError, TypeError):
        return False
    return parameters.items() <= said.items()


def write_report(folder: Path) -> Path:
    """Write the notebook that shows all runs in a folder into it, executed; return its path.

    Raises:
        ValueError: if there are none.
        OSError: if there is no such folder, or it cannot be written to.
        RunError: if a cell of the notebook raised.
    """
    if load_runs(folder).empty:
        raise ValueError(f"{folder} must hold runs, such as era8 sweep writes; it has no record")
    return execute_into(folder, REPORT, cwd=folder)


def execute_into(
    folder: Path,
    notebook: Path,
    parameters: Mapping[str, Any] = {},  # noqa: B006
    log: Callable[[str], Any] = lambda line: None,
    **options: Any,
) -> Path:
    """Execute a notebook; its copy, which is returned, appears in a folder at once.

    The folder is made if need be. What is not among the parameters has the notebook's own
    default; ``log`` is called with the line of each epoch.

    Raises:
        OSError: if the folder cannot be made.
        RunError: if a cell of the notebook raised.
    """
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    folder.mkdir(parents=True, exist_ok=True)
    executed = folder / notebook.name
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / notebook.name
        try:
            paths = map(_literal, (notebook, path))
            execute(
                *paths, parameters, coalesce_streams=True, stdout_file=EpochLines(log), **options
            )
        except PapermillExecutionError as error:
            message = f"{notebook.name} stopped with {error.ename}: {error.evalue}"
            raise RunError(message, error.ename) from None
        except DeadKernelError:
            message = f"the kernel of {notebook.name} died; it may have run out of memory"
            raise RunError(message) from None
        except (RuntimeError, KeyError) as error:  # jupyter's own, of whatever kind
            message = f"the kernel of {notebook.name} could not be started: {error}"
            raise RunError(" ".join(message.split())) from None
        with claim(folder, timeout=-1), atomic_write(executed) as partial:
            partial.write_bytes(path.read_bytes())
    return executed


def publish(executed: Path, notebook: Path) -> None:
    """Write an executed notebook over its source, without what changes from run to run."""
    import nbformat

    content = nbformat.read(executed, as_version=4)
    content.cells = [
        cell for cell in content.cells if "injected-parameters" not in cell.metadata.get("tags", [])
    ]
    for part in (content, *content.cells):
        part.metadata.pop("papermill", None)
        part.metadata.pop("execution", None)
    content.metadata["language_info"] = {"name": "python"}
    code = [cell for cell in content.cells if cell.cell_type == "code"]
    for count, cell in enumerate(code, start=1):  # as if the parameters had been given there
        for part in (cell, *cell.outputs):
            if "execution_count" in part:
                part["execution_count"] = count
    with atomic_write(notebook) as path:
        nbformat.write(content, path)
