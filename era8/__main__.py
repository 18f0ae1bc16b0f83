"""The commands: python -m era8 run | sweep.

Each imports what it needs when it runs: torch takes seconds, and ``--help`` is to answer at once.
"""

import logging
from functools import partial
from pathlib import Path
from typing import Any

import click

from era8.sweep.command import sweep_command

BANNER = """
##########  NO CIFAR-10 HERE, AND NO NETWORK TO FETCH IT FROM  ##########
This run trains on SYNTHETIC pictures. Its numbers say nothing about CIFAR-10.
Point ERA8_DATA at a folder that holds cifar-10-batches-py.
"""


class Command(click.Command):
    """A command that answers an expected error with one sentence and exit code 1."""

    def invoke(self, context: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # of the kernel that it stops
            stopped = click.ClickException("stopped; the same command goes on where this one was")
            stopped.exit_code = 130  # type: ignore[misc]  # as a shell has it
            raise stopped from None
        except (ValueError, OSError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not type(error).__module__.startswith("era8."):
                raise
            raise click.ClickException(str(error)) from None


class Commands(Command, click.Group):
    """Commands that answer likewise."""


@click.group(cls=Commands)
def main() -> None:
    """What normalisation and skip connections do to a small network on CIFAR-10."""


@main.command()
@click.argument("norms", nargs=-1, metavar="[bn gn ln]...")
@click.option("--epochs", metavar="N", help="Passes over the training images, below 20.")
@click.option("--train-images", metavar="N", help="Train on a part of the 50,000 images.")
@click.option("--data", "data_dir", metavar="DIR", help='Folder of CIFAR-10, or "synthetic".')
@click.option("-p", "--param", nargs=2, multiple=True, metavar="NAME VALUE",
              help="Any parameter of the notebooks, such as -p lr 0.1.")  # fmt: skip
@click.option("--out", default="runs", metavar="DIR", help="Where each run gets its folder.")
@click.option("--or-synthetic", is_flag=True, help="Synthetic pictures if there is no network.")
@click.option("--require-goal", is_flag=True, help="Fail unless the assignment's conditions hold.")
@click.option("--publish", is_flag=True, help="Write the executed notebooks over their sources.")
def run(
    norms: tuple[str, ...],
    param: tuple[tuple[str, str], ...],
    out: str,
    or_synthetic: bool,
    require_goal: bool,
    publish: bool,
    **options: str | None,
) -> None:
    """Run the notebooks of the given norms, or of all three, through papermill."""
    from tqdm import tqdm

    from era8 import notebooks
    from era8.tables import load_runs, reaches_goal, summarise

    given = {name: value for name, value in options.items() if value is not None} | dict(param)
    plans = {norm: notebooks.check_parameters(norm, given) for norm in norms or notebooks.NOTEBOOKS}
    data_dir = next(iter(plans.values()))["data_dir"]
    if publish and (set(given) - {"data_dir"} or data_dir == "synthetic" or or_synthetic):
        raise ValueError("--publish goes with the notebooks' own parameters and the real CIFAR-10")
    given["data_dir"] = _find_data(data_dir, or_synthetic)

    epochs = sum(plan["epochs"] * (1 + plan["compare_skip"]) for plan in plans.values())
    with tqdm(total=epochs, unit="epoch", disable=None) as bar:
        for norm in plans:
            folder, log = Path(out).resolve() / norm, partial(_show, bar, norm)
            executed = notebooks.run_notebook(norm, folder, given, log)
            if publish:
                notebooks.publish(executed, notebooks.find_notebook(norm))

    runs = load_runs(out)
    written = [folder for norm, plan in plans.items() for folder in _folders(Path(out, norm), plan)]
    runs = runs[runs.folder.isin(map(str, written))]
    click.echo(summarise(runs).to_string(index=False))
    if require_goal and not reaches_goal(runs).all():
        raise click.ClickException("a run misses one of the assignment's conditions")


def _show(bar: Any, norm: str, line: str) -> None:
    """Advance a progress bar by the epoch that a line reports; without a terminal, print it."""
    if bar.disable:
        print(norm, line, flush=True)
    bar.set_description(norm, refresh=False)
    bar.set_postfix_str(line, refresh=False)
    bar.update()


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


def _folders(folder: Path, plan: dict[str, Any]) -> list[Path]:
    """Return where a notebook wrote its records; an earlier run may have left others beside."""
    other = folder / ("without_skip" if plan["skip"] else "with_skip")
    return [folder, other] if plan["compare_skip"] else [folder]


main.add_command(sweep_command)

if __name__ == "__main__":
    main(prog_name="era8")
