"""The command python -m era8 sweep."""

import os
import signal
import sys
from dataclasses import replace
from typing import Any

import click


@click.command(name="sweep", context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[FILE] [--SETTING VALUE...]...")
@click.option("--out", default="runs/sweep", metavar="DIR", help="Where each cell gets its folder.")
@click.option("--data", "data_dir", default="", metavar="DIR", help="As for run.")
@click.option("--device", default="auto", help="As for run.")
@click.option("--workers", default=1, type=click.IntRange(1), help="Cells at a time.")
@click.option("--threads", type=click.IntRange(1), help="For each cell; if not given, a share.")
@click.option("--retries", default=2, type=click.IntRange(0), help="Further tries of a cell.")
@click.option("--notebooks", is_flag=True, help="Run each cell as a notebook, through papermill.")
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local",
              help="Processes of this machine, or a Ray cluster.")  # fmt: skip
@click.option("--address", default="", metavar="HOST:PORT", help='Of the Ray cluster, or "auto".')
@click.option("--gpus", default=0.0, type=click.FloatRange(0), help="Per cell, such as 0.2 (Ray).")
@click.option("--dry-run", is_flag=True, help="List the cells and the time that they will take.")
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
    **options: Any,
) -> None:
    """Train a grid of cells: --norm bn gn --seed 0..4, or a FILE of such settings in YAML.

    Cells that have been trained are left as they are, so the same command goes on with a sweep
    that was stopped.
    """
    from era8 import WAITING
    from era8.checks import folder, whole
    from era8.data.download import find_or_fetch
    from era8.device import choose_device
    from era8.sweep import grid, plan
    from era8.sweep.cell import Place, find_open
    from era8.tables import write_tables

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    blocks: list[Any] = [{}]
    if words and not words[0].startswith("--"):
        blocks, words = grid.read_grid(words[0]), words[1:]
    given = grid.read_options(words)
    cells = grid.expand({**block, **given} for block in blocks)
    if engine == "ray" and options["notebooks"]:
        raise ValueError("--notebooks goes with --engine local; Ray trains the cells directly")
    if engine == "ray" and workers > 1:
        raise ValueError("--workers goes with --engine local; Ray fills its nodes by itself")
    if engine == "local":
        if address or gpus:
            raise ValueError("--address and --gpus go with --engine ray")
        choose_device(options["device"])
        whole("threads", threads or 1, 1, os.cpu_count() or 1)
    threads = threads or (1 if engine == "ray" else plan.share_threads(workers))
    place = Place(folder("out", out), threads=threads, **options)
    if dry_run:
        table = plan.estimate(cells, place)
        plan.say(table.to_string(index=False, float_format="%.1f"))
        hours = table.minutes.sum() / 60 / workers
        plan.say(f"{len(cells)} cells, {sum(table.minutes > 0)} to train: {hours:.2f} hours")
        return
    if not place.synthetic:
        place = replace(place, data_dir=str(find_or_fetch(place.data_dir or None).resolve()))
    todo = find_open(cells, place)
    finished = len(cells) - len(todo)
    plan.say(f"{len(cells)} cells, {finished} of them finished{WAITING}", sys.stderr)
    with plan.SweepBar(todo) as progress:
        if engine == "ray":
            from era8.sweep.cluster import sweep_cluster

            failed = sweep_cluster(todo, place, address, threads, gpus, retries, progress.show)
        else:
            from era8.sweep.local import sweep

            failed = sweep(todo, place, workers, retries, progress.show)
    for cell in find_open(todo, place):
        failed.setdefault(cell.name, "its record cannot be read")
    for name, reason in failed.items():
        plan.say(f"{name}: {reason}", sys.stderr)
    place.out.mkdir(parents=True, exist_ok=True)  # it is not there if every cell failed at once
    write_tables(place.out)
    if failed:
        raise click.ClickException(f"{len(failed)} of {len(cells)} cells failed")
