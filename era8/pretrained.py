"""The reference networks, ready to use: load_pretrained, and what they call an image."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from era8 import checks
from era8.data import CLASSES, normalise
from era8.disk import read_tensors
from era8.models import make_model
from era8.pictures import read_picture as read_picture  # beside classify, for the notebooks
from era8.records import Record
from era8.run import Run, from_record

if TYPE_CHECKING:
    import pandas as pd

WEIGHTS = Path(__file__).parent / "weights"  # written by python -m study, from the records
MODELS, NORMS = ("session8", "dilated"), ("bn", "gn", "ln")


def load_pretrained(model: str = "session8", norm: str = "bn") -> nn.Module:
    """Return a network with skips that was trained for 19 epochs, on the CPU, in evaluation mode.

    Args:
        model: ``session8``, the assignment's, or ``dilated``, the most accurate.
        norm: ``bn``, ``gn`` or ``ln``.

    Raises:
        ValueError: if there is no such network.
    """
    checks.one_of("model", model, MODELS)
    checks.one_of("norm", norm, NORMS)
    with torch.device("cpu"):  # whatever the user's defaults are
        network = make_model(model, norm).float()
    path = WEIGHTS / f"{model}-{norm}.pt"
    network.load_state_dict(read_tensors(path.read_bytes(), path))
    return network.eval()


def load_trained(model: str = "session8", norm: str = "bn") -> tuple[nn.Module, Record]:
    """Return :func:`load_pretrained` and the record of the run that made it."""
    network = load_pretrained(model, norm)
    said = from_record(json.loads((WEIGHTS / f"{model}-{norm}.json").read_text()))
    return network, Record(**said)


def load_reference(run: Run) -> dict[str, Any] | None:
    """Return what the study's runs of the same settings reached, None if it has no such runs.

    That is ``mean`` and ``std`` of the test accuracy, a fraction, over so many ``seeds``. The seed
    and the precision may be any.
    """
    reference = json.loads((WEIGHTS / "reference.json").read_text())
    alike = (
        found for found in reference.values()
        if not Run(**found["settings"] | {"seed": run.seed}).difference(run)
    )  # fmt: skip
    return next(alike, None)


def compare(records: Sequence[Record]) -> Any:
    """Show a notebook's runs beside the study's, and what one pair of runs cannot say."""
    from IPython.display import Markdown

    lines, deviations = [], []
    for run in records:
        kind = f"{run.norm.upper()} {'with' if run.skip else 'without'} skips"
        text = f"- **{kind}**: this run {100 * run.accuracy:.2f} % after {run.epochs} "
        text += "epoch" if run.epochs == 1 else "epochs"
        if found := load_reference(run):
            text += f"; {found['seeds']} seeds of the study {100 * found['mean']:.2f} ± "
            text += f"{100 * found['std']:.2f} %"
            deviations.append(found["std"])
        else:
            text += "; the study has no runs with these settings"
        lines.append(text)
    if len(records) == len(deviations) > 1:
        points = 100 * (records[0].accuracy - records[1].accuracy)
        luck = 1.96 * 2**0.5 * 100 * max(deviations)  # of a difference of two, 19 times in 20
        lines.append(
            f"- This pair of runs differs by {points:+.2f} points. Two runs that differ in their "
            f"seed alone are {luck:.1f} points or more apart one time in twenty: one pair proves "
            "nothing."
        )
    return Markdown("\n".join(lines))


@torch.inference_mode()
def classify(image: Tensor, model: str = "session8", best: int = 3) -> "pd.DataFrame":
    """Return each norm's best guesses of what an image shows, the surest first.

    Args:
        image: (3, 32, 32) uint8, as :func:`era8.pictures.read_picture` returns it.
        model: as for :func:`load_pretrained`.
        best: guesses of each norm.

    Returns:
        Columns ``norm``, ``guess`` (the name of a class) and ``probability``.
    """
    import pandas as pd

    rows = []
    for norm in NORMS:
        found = load_pretrained(model, norm)(normalise(image[None])).softmax(1)[0].topk(best)
        rows += [
            (norm, CLASSES[i], p)
            for p, i in zip(found.values.tolist(), found.indices.tolist(), strict=True)
        ]
    return pd.DataFrame(rows, columns=["norm", "guess", "probability"])
