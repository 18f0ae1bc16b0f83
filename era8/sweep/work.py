"""One run of a grid: trained in this process, or shown by its notebook."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from era8.data import load_data
from era8.disk import CHECKPOINT
from era8.notebooks import NOTEBOOKS, check_parameters, execute_into, find_notebook
from era8.recipe import OPTIMIZERS
from era8.records import Record, load_run
from era8.run import DEFAULTS, Run, fingerprint_code
from era8.train import fit_in, refuse_other

Log = Callable[[Run, str], Any]  # called with a run and a line
FINISHED, FAILED = "finished", "failed: "  # the last line of a run is one, or begins with the other


@dataclass(frozen=True)
class Workspace:
    """Where runs are trained, and what they share."""

    out: Path  # in which each run has its own folder
    data_dir: str = ""  # as for era8.load_data, like the next
    device: str = "auto"
    threads: int = 1  # of the CPU, for each run

    @property
    def synthetic(self) -> bool:
        """Whether the runs are trained on synthetic images."""
        return self.data_dir == "synthetic"

    def here(self, run: Run) -> Run:
        """Return the run that asking for one comes to, with the images that there are."""
        return run.on_synthetic() if self.synthetic else run

    def folder(self, run: Run) -> Path:
        """Return the folder of a run: the one that :func:`era8.train.fit_in` gives it."""
        return self.out / self.here(run).name

    def notebook(self, run: Run) -> Path:
        """Return where the executed notebook of a run's norm is to be."""
        return self.folder(run) / NOTEBOOKS[run.norm]


def unfinished(runs: Sequence[Run], workspace: Workspace) -> list[Run]:
    """Return the runs that have not been trained, or were not cleared up after.

    Raises:
        ValueError: if a run's folder holds another run.
    """
    todo = []
    for run in runs:
        with suppress(OSError):  # one that may not be read fails alone, when its turn comes
            left = (workspace.folder(run) / CHECKPOINT).exists()  # it goes last of all
            if find_finished(run, workspace) and not left:
                continue
        todo.append(run)
    return todo


def find_finished(run: Run, workspace: Workspace) -> Record | None:
    """Return the record of a run that has been trained, None if there is none that can be read.

    Raises:
        ValueError: if the folder holds the record of another run, or one made by other code.
    """
    folder = workspace.folder(run)
    try:
        record = load_run(folder)
    except ValueError:
        return None
    code = {"code": fingerprint_code(run.make_model())} if ":" in run.model + run.norm else {}
    refuse_other(record, workspace.here(run), folder, code)
    return record


def train(run: Run, workspace: Workspace, log: Callable[[str], Any]) -> None:
    """Train a run, unless it has been trained, and write its folder, as :func:`era8.fit_in`."""
    torch.set_num_threads(workspace.threads)
    data = load_data(workspace.data_dir, workspace.device, run.train_images)
    torch.manual_seed(run.seed)
    fit_in(workspace.out, run.make_model(), data.hold_out(run.val_images), run, log)


def show(
    run: Run,
    workspace: Workspace,
    log: Callable[[str], Any],
    more: Mapping[str, Any] = {"compare_skip": False},  # noqa: B006
) -> None:
    """Execute the notebook of a run's norm, which finds what has been trained, in the run's folder.

    ``more`` are parameters that the notebook alone has; ``log`` is called with the line of each
    epoch that it trains itself.
    """
    os.environ["OMP_NUM_THREADS"] = str(workspace.threads)  # of the notebook's own process
    given = notebook_parameters(run, workspace, more)
    execute_into(workspace.folder(run), find_notebook(run.norm), given, log)


def notebook_parameters(run: Run, workspace: Workspace, more: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the notebook of a run's norm is to be given, once it is checked.

    Raises:
        ValueError: if the notebook cannot take the run's settings.
    """
    own = OPTIMIZERS[run.optimizer]  # which the notebook would take if these were left out
    given = {n: v for n, v in run.settings.items() if n in own or v != DEFAULTS[n]}
    given |= {"device": workspace.device, "data_dir": workspace.data_dir}
    out = str(workspace.out.resolve())  # wherever the notebook looks for a relative one
    given |= {"out_dir": out, **more}
    given.pop("norm", None)
    return check_parameters(run.norm, given)


def explain(error: BaseException) -> str:
    """Return the kind of an error and the first line of what it says."""
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
