"""The command python -m era8 sweep."""

import os
import sys
from dataclasses import replace
from typing import Any

import click

from era8.progress import heartbeat, say


@click.command(
    name="sweep", context_settings={"ignore_unknown_options": True, "show_default": True}
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[FILE] [--SETTING VALUE...]...")
@click.option("--out", default="runs/sweep", metavar="DIR", help="Where each run gets its folder.")
@click.option("--data", "data_dir", default="", metavar="DIR", help="As for run.")
@click.option("--device", default="auto", help="cpu, cuda, cuda:1 or mps.")
@click.option("--workers", default=1, type=click.IntRange(1), help="Runs at a time.")
@click.option("--threads", type=click.IntRange(1), help="For each run; by default its share.")
@click.option("--retries", default=2, type=click.IntRange(0), help="Further tries of a run.")
@click.option("--notebooks", is_flag=True, help="Then show each run in its norm's notebook.")
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local",
              help="Processes of this machine, or a Ray cluster.")  # fmt: skip
@click.option("--address", default="", metavar="HOST:PORT", help='Of the Ray cluster, or "auto".')
@click.option("--gpus", default=0.0, type=click.FloatRange(0), help="Per run, such as 0.2 (Ray).")
@click.option("--dry-run", is_flag=True, help="List the runs, and which are finished.")
@heartbeat()
def sweep_command(
    words: tuple[str, ...],
    out: str,
    workers: int,
    threads: int | None,
    retries: int,
    engine: str,
    address: str,
    gpus: float,
    dry_run: bool,
    notebooks: bool,
    **options: Any,
) -> None:
    """Train a grid of runs: --norm bn gn --seed 0..4, or a FILE of such settings in YAML.

    Runs that have been trained are left as they are, so the same command resumes a sweep that was
    stopped. A FILE may name a network or a norm of your own, whose module is then executed: take
    such a file only from where you would take code.
    """
    from era8.checks import check_int, folder
    from era8.data.download import find_or_fetch
    from era8.device import choose_device
    from era8.disk import CHECKPOINT
    from era8.sweep import grid, plan
    from era8.sweep.local import sweep
    from era8.sweep.work import Workspace, notebook_parameters, show, unfinished
    from era8.tables import average, write_tables

    grids: list[Any] = [{}]
    if words and not words[0].startswith("--"):
        grids, words = grid.read_grid(words[0]), words[1:]
    given = grid.read_options(words)
    runs = grid.expand({**one, **given} for one in grids)
    if engine == "ray" and notebooks:
        raise ValueError("--notebooks goes with --engine local; Ray trains the runs directly")
    if engine == "ray" and workers > 1:
        raise ValueError("--workers goes with --engine local; Ray fills its nodes by itself")
    if engine == "local":
        if address or gpus:
            raise ValueError("--address and --gpus go with --engine ray")
        choose_device(options["device"])
        check_int("threads", threads or 1, 1, os.cpu_count() or 1)
    threads = threads or (1 if engine == "ray" else plan.share_threads(workers))
    workspace = Workspace(folder("out", out), threads=threads, **options)
    for run in runs if notebooks else ():
        notebook_parameters(run, workspace, {})  # refused here rather than after a training
    todo = unfinished(runs, workspace)
    finished = f"{len(runs)} runs, {len(runs) - len(todo)} of them finished"
    if dry_run:
        for run in runs:
            begun = (workspace.folder(run) / CHECKPOINT).exists()
            state = "finished" if run not in todo else "begun" if begun else "open"
            say(f"{state:9}{run.name}")
        say(finished)
        return
    if not workspace.synthetic:
        where = find_or_fetch(workspace.data_dir or None).resolve()
        workspace = replace(workspace, data_dir=str(where))
    say(finished, sys.stderr)
    with plan.SweepBar(todo) as progress:
        if engine == "ray":
            from era8.sweep.cluster import sweep_cluster

            failed = sweep_cluster(todo, workspace, address, threads, gpus, retries, progress.show)
        else:
            failed = sweep(todo, workspace, workers, retries, progress.show)
    for run in unfinished(todo, workspace):
        failed.setdefault(run.name, "its record cannot be read")
    if notebooks:
        trained = [run for run in runs if run.name not in failed]
        missing = [run for run in trained if not workspace.notebook(run).exists()]
        failed |= sweep(missing, workspace, workers, retries, progress.show, show)
    table = write_tables(workspace.out)
    table = table[table.folder.isin(str(workspace.folder(run)) for run in runs)]
    if len(table):
        say(average(table).to_string(index=False))
        said = "runs.csv has a row per run, epochs.csv one per epoch"
        say(f"written to {workspace.out}: {said}")
        say(f"go on with: era8 report {workspace.out}, which draws them")
    for name, reason in failed.items():
        say(f"{name}: {reason}", sys.stderr)
    if failed:
        raise click.ClickException(f"{len(failed)} of {len(runs)} runs failed")
