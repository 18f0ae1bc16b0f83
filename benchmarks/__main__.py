"""The speed beside what a user would run instead: python -m benchmarks."""

import signal
from pathlib import Path
from typing import Any

import click

from benchmarks.plan import LOOPS, run_benchmark
from benchmarks.results import RESULTS
from era8.__main__ import Command


@click.command(cls=Command)
@click.argument("loops", nargs=-1, metavar="[course tuned airbench]...")
@click.option("--images", default=10_000, metavar="N", help="Training images in an epoch.")
@click.option("--rounds", default=3, metavar="N", help="Times that everything is measured.")
@click.option("--all-norms", is_flag=True, help="All norms for every loop, not for era8 alone.")
@click.option("--race", is_flag=True, help="Train each loop to 70 % of held-out images, too.")
@click.option("--epochs", default=19, metavar="N", help="Epochs of a race, at most.")
@click.option("--data", "data_dir", metavar="DIR", help="Folder of CIFAR-10.")
@click.option("--device", default="auto", help="As for run.")
@click.option("--out", default=RESULTS, type=Path, metavar="FILE", help="The results.")
def main(loops: tuple[str, ...], **options: Any) -> None:
    """Measure era8 beside what a user would run instead: the given loops, or all."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run_benchmark(loops or LOOPS, **options, log=click.echo)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
