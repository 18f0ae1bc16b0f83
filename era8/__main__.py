"""The commands: python -m era8 run | sweep | report | classify.

Each imports what it needs when it runs: torch takes seconds, and ``--help`` is to answer at once.
"""

import logging
import os
import re
import signal
import sys
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

import click

from era8.progress import heartbeat, say
from era8.sweep.command import sweep_command

BANNER = """
##########  NO CIFAR-10 HERE, AND NO NETWORK TO FETCH IT FROM  ##########
This run trains on SYNTHETIC images. Its numbers say nothing about CIFAR-10.
Point ERA8_DATA at a folder that holds cifar-10-batches-py.
"""

# What the package index calls modules, where it is not what Python calls them.
PACKAGES = {"IPython": "ipython", "PIL": "pillow", "yaml": "pyyaml"}


class Command(click.Command):
    """A command that answers an expected error with one sentence and exit code 1."""

    def invoke(self, context: click.Context) -> Any:
        """Run the command."""
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            if getattr(sys, name) is None:  # closed, as by 2>&-: a run's file would get its number
                file = open(os.devnull, "w" if number else "r")
                os.set_inheritable(file.fileno(), True)
                setattr(sys, name, file)
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # of the kernel that it stops
            stopped = click.ClickException("stopped; the same command resumes where this one was")
            stopped.exit_code = 130  # type: ignore[misc]  # as a shell has it
            raise stopped from None
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] == "era8":
                raise
            raise click.ClickException(_advise(error)) from None
        except (ValueError, OSError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not type(error).__module__.startswith("era8."):
                raise
            raise click.ClickException(str(error)) from None
        finally:
            signal.signal(signal.SIGTERM, before)


def _advise(error: ModuleNotFoundError) -> str:
    """Return what to install. Under a name that era8 does not know, a stranger may be found."""
    module = (error.name or "").split(".")[0]
    package = PACKAGES.get(module, module)
    try:
        known = re.findall(r"^[\w.-]+", "\n".join(requires("era8") or []), re.MULTILINE)
    except PackageNotFoundError:  # a clone that is not installed
        known = []
    if package in (*known, *PACKAGES.values()):
        return f"this command needs {package}; install it: pip install {package}"
    return f"{error}; install the package that it comes with, or mend its name"


class Commands(Command, click.Group):
    """Commands that answer likewise."""


@click.group(cls=Commands, context_settings={"show_default": True})
def main() -> None:
    """What normalisation and skip connections do to a small network on CIFAR-10."""


@main.command()
@click.argument("norms", nargs=-1, metavar="[bn gn ln]...")
@click.option("--epochs", metavar="N", help="Passes over the training images, below 20.")
@click.option("--train-images", metavar="N", help="Train on a part of the 50,000 images.")
@click.option("--data", "data_dir", metavar="DIR", help='Folder of CIFAR-10, or "synthetic".')
@click.option("--seed", "seeds", multiple=True, metavar="N|A..B",
              help="Seeds, such as 0..4; each has its notebooks, all have a report.")  # fmt: skip
@click.option("-p", "--param", nargs=2, multiple=True, metavar="NAME VALUE",
              help="Any parameter of the notebooks, such as -p lr 0.1.")  # fmt: skip
@click.option("--out", "out_dir", metavar="DIR", help="Where each run gets its folder: runs.")
@click.option("--workers", default="auto", metavar="N", help="Trainings at a time.")
@click.option("--or-synthetic", is_flag=True, help="Synthetic images if there is no network.")
@click.option("--require-goal", is_flag=True, help="Fail unless the assignment's conditions hold.")
@click.option("--publish", is_flag=True, help="Write the executed notebooks over their sources.")
@heartbeat()
def run(
    norms: tuple[str, ...],
    seeds: tuple[str, ...],
    param: tuple[tuple[str, str], ...],
    workers: str,
    or_synthetic: bool,
    require_goal: bool,
    publish: bool,
    **options: str | None,
) -> None:
    """Run the notebooks of the given norms, or of all three, through papermill."""
    from era8.sweep import prepare_processes

    prepare_processes()  # for their server to import what they need while this one does
    from era8 import notebooks
    from era8.checks import folder
    from era8.kernel import PARAMETERS, settings_of
    from era8.sweep import local, plan
    from era8.sweep.grid import expand
    from era8.sweep.work import Workspace, show, unfinished
    from era8.tables import average, load_runs, reaches_goal, summarise

    named = [*((n, v) for n, v in options.items() if v is not None), *param]
    given, words = dict(named), [name for name, _ in named] + ["seed"] * bool(seeds)
    if twice := sorted({name for name in words if words.count(name) > 1}):
        raise ValueError(f"{', '.join(twice)} is given twice; give it once")
    given = {"out_dir": "runs"} | given
    typed = {norm: notebooks.check_parameters(norm, given) for norm in norms or notebooks.NOTEBOOKS}
    first = next(iter(typed.values()))
    # A notebook shows where its runs are, which is to be the same for every reader
    changed = set(given) - {"data_dir", "out_dir"} or given["out_dir"] != "runs"
    if publish and (changed or seeds or or_synthetic or first["data_dir"] == "synthetic"):
        raise ValueError("--publish goes with the notebooks' own parameters and the real CIFAR-10")
    if first["pretrained"]:
        raise ValueError("pretrained must be False, for run trains; set it in the notebook itself")
    several = {"seed": seeds} if seeds else {}
    runs = expand(settings_of(norm, values) | several for norm, values in typed.items())
    others = [replace(run, skip=not run.skip) for run in runs if first["compare_skip"]]
    at_a_time = plan.share_workers(workers, len(runs + others), first["device"])
    out, threads = folder("out_dir", first["out_dir"]), plan.share_threads(at_a_time)
    data_dir = _find_data(first["data_dir"], or_synthetic)
    workspace = Workspace(out, data_dir, first["device"], threads)
    workspace.out.mkdir(parents=True, exist_ok=True)  # refused here rather than after a training
    todo = [] if publish else unfinished(others + runs, workspace)
    here = workspace.here(runs[0])
    lengths = f"epochs: {here.epochs}, images: {here.images:,}"
    if not publish:  # then the notebooks train
        say(f"{len(todo)} trainings ({lengths}), {at_a_time} at a time", sys.stderr)
    with plan.SweepBar(todo) as progress:
        failed = local.sweep(todo, workspace, at_a_time, retries=0, log=progress.show)
    more = {n: first[n] for n in PARAMETERS.keys() - {"device", "data_dir", "out_dir"}}
    shown = [
        run for run in runs
        if publish or run in todo or not notebooks.shows(workspace.notebook(run), more)
    ]  # fmt: skip
    task, left = partial(show, more=more), [run for run in shown if run.name not in failed]
    say(f"{len(left)} notebooks to execute", sys.stderr)
    with plan.SweepBar(left) as progress:
        failed |= local.sweep(left, workspace, at_a_time, retries=0, log=progress.show, task=task)
    if failed:
        raise click.ClickException("; ".join(failed.values()))
    for run in runs if publish else ():
        notebooks.publish(workspace.notebook(run), notebooks.find_notebook(run.norm))

    table = load_runs(workspace.out)
    table = table[table.folder.isin(str(workspace.folder(run)) for run in runs + others)]
    many = len(runs) > len(typed)  # seeds
    say((average if many else summarise)(table).to_string(index=False))
    if many:
        say(f"all seeds are in {notebooks.write_report(workspace.out)}")
    say(f"written to {workspace.out.resolve()}")
    if require_goal and not reaches_goal(table).all():
        raise click.ClickException("a run misses one of the assignment's conditions")


def _find_data(data_dir: str, or_synthetic: bool) -> str:
    """Return the notebooks' ``data_dir``, once the data is found or fetched and verified."""
    if data_dir == "synthetic":
        return data_dir
    from era8.data.download import FetchError, find_or_fetch

    try:
        return str(find_or_fetch(data_dir or None).resolve())
    except FetchError as error:
        if not or_synthetic:
            raise
        click.echo(f"{BANNER}\n{error}\n", err=True)
        return "synthetic"


@main.command(name="report")
@click.argument("folder")
@heartbeat()
def report_command(folder: str) -> None:
    """Write report.ipynb into a FOLDER of runs: their table, dots, curves and differences."""
    from era8.notebooks import write_report

    say(f"written to {write_report(Path(folder))}")


@main.command(name="classify")
@click.argument("image", type=click.Path())
@click.option("--model", default="session8", help="session8, or dilated: the most accurate.")
@heartbeat()
def classify_command(image: str, model: str) -> None:
    """Say what an IMAGE shows: the three best guesses of each norm's trained network."""
    from era8.figures.style import NAMES
    from era8.pictures import read_picture
    from era8.pretrained import classify
    from era8.tables import percent

    for norm, rows in classify(read_picture(image), model).groupby("norm", sort=False):
        guesses = [f"{row.guess} {percent(row.probability, 0)}" for row in rows.itertuples()]
        click.echo(f"{NAMES[str(norm)]}  {', '.join(guesses)}")


main.add_command(sweep_command)

if __name__ == "__main__":
    main(prog_name="era8")
