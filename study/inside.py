"""What is inside trained networks: batch statistics, skips that are cut, images that change.

``python -m study.inside`` measures, on the test images, the networks of the parts ``long`` and
``play`` whose weights are kept, and writes results/inside.csv.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torchvision.transforms.v2.functional import gaussian_blur

from era8.data import Split, load_cifar10, normalise
from era8.disk import atomic_write
from era8.evaluate import accuracy, predict
from era8.figures.images import fade, plot_contrast
from era8.figures.style import COLORS, NAMES, finish, new_figure, place_legend, style
from era8.models import Session8Net
from era8.pictures import read_picture
from era8.records import load_weights
from study.runs import ROOT, load_part

MEASURED = ROOT / "results" / "inside.csv"
BATCHES = (2, 4, 8, 16, 32, 128, 512)
SKIPS = {"first": ("P1", "P2"), "second": ("P2", "GAP")}  # of Session8Net: from a layer's output
CHANGES: dict[str, tuple[str, tuple[float, ...]]] = {  # what is done to images, and how much
    "contrast": ("× contrast", (0.5, 0.25, 0.1)),
    "brightness": ("+ light", (0.1, 0.2, 0.4)),
    "colour": ("+ red", (0.1, 0.2, 0.4)),
    "noise": ("± noise", (0.05, 0.1, 0.2)),
    "blur": ("sigma (pixels)", (0.5, 1.0, 2.0)),
}
PICTURE = ROOT / "results" / "truck.png"  # a test image, kept so that figures need no data


def load_kept() -> pd.DataFrame:
    """Return the long runs whose weights are kept, one row per run."""
    runs = load_part("long", "play")
    return runs[[Path(folder, "weights.pt").is_file() for folder in runs.folder]]


def load_network(run: Any) -> Session8Net:
    """Return the network of a run, a row of :func:`load_kept`."""
    network = Session8Net(run.norm, run.skip, run.groups)
    load_weights(run.folder, network)
    return network


@torch.no_grad()
def batch_accuracy(model: nn.Module, split: Split, sizes: Sequence[int]) -> pd.Series:
    """Return the accuracy when a network sees images in batches, as in training, by batch size.

    BatchNorm normalises each batch by its own mean and variance then, and not by the running ones;
    the other norms make no difference between the two. The model is left as it is.
    """
    model, found = copy.deepcopy(model).train(), {}
    for size in sizes:
        batches = split.images.split(size)
        logits = torch.cat([model(normalise(images)).float().cpu() for images in batches])
        found[size] = accuracy(logits, split.labels)
    return pd.Series(found)


def calibrate(logits: Tensor, labels: Tensor, bins: int = 10) -> pd.Series:
    """Return how far a network may be believed: what is right among guesses of like confidence.

    Confidence is the probability of the guess. The mean over all images of how far it is from the
    share that is right, bin by bin, is the expected calibration error (Guo et al. 2017, arXiv
    1706.04599), here ``error``; the other values are that share, by the middle of its bin, for bins
    of 30 images or more.
    """
    confidence, guess = logits.softmax(1).max(1)
    table = pd.DataFrame({"confidence": confidence, "right": (guess == labels).float()})
    groups = table.groupby((table.confidence * bins).astype(int).clip(upper=bins - 1))
    means, counts = groups.mean(), groups.size()
    error = (counts * (means.right - means.confidence).abs()).sum() / len(table)
    shares = {f"{(i + 0.5) / bins:g}": share for i, share in means.right[counts >= 30].items()}
    return pd.Series(shares | {"error": error})


def cut_accuracy(model: nn.Module, split: Split) -> pd.Series:
    """Return the accuracy of a trained network with skips: whole, one skip cut, both cut."""
    cuts = {"whole": [], **{name: [name] for name in SKIPS}, "both": list(SKIPS)}
    found = {}
    for name, skips in cuts.items():
        with ExitStack() as stack:
            for skip in skips:
                stack.enter_context(cut_skip(model, skip))
            found[name] = accuracy(predict(model, split), split.labels)
    return pd.Series(found)


@contextmanager
def cut_skip(model: nn.Module, name: str) -> Iterator[None]:
    """Take what one of ``SKIPS`` adds away again, for as long as the context lasts."""
    start, end = map(model.get_submodule, SKIPS[name])
    kept = list[Tensor]()
    with (
        start.register_forward_hook(lambda _, args, out: kept.append(out)),
        end.register_forward_pre_hook(lambda _, args: args[0] - kept.pop()),
    ):
        yield


def change(images: Tensor, kind: str, amount: float) -> Tensor:
    """Return uint8 images (N, 3, H, W) after one of ``CHANGES``.

    Contrast is drawn towards the mean of all pixels and channels of an image; light, red and noise
    are parts of the range from black to white.
    """
    x = images.float()
    if kind == "contrast":
        return fade(images, amount)
    if kind == "blur":
        x = gaussian_blur(x, 9, amount)
    elif kind == "noise":
        x = x + 255 * amount * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    else:
        x[:, : 1 if kind == "colour" else 3] += 255 * amount
    return x.round().clamp(0, 255).to(torch.uint8)


def measure_networks() -> pd.DataFrame:
    """Measure the networks whose weights are kept on the test images.

    Returns:
        Columns ``norm``, ``skip``, ``seed``, ``measure`` (``batch``, ``cut``, ``confidence`` as of
        :func:`calibrate`, ``contrast in batches`` of 512, or of ``CHANGES``), ``at`` (the size of a
        batch, 0 for evaluation mode; a cut; a bin; an amount) and ``value``, the accuracy but for
        ``error``.
    """
    test, tables = load_cifar10(device="cpu").test, []
    changed = {
        kind: {a: Split(change(test.images, kind, a), test.labels) for a in amounts}
        for kind, (_, amounts) in CHANGES.items()
    }
    for run in load_kept().itertuples():
        print(Path(run.folder).name)
        model = load_network(run)
        found = {"batch": batch_accuracy(model, test, BATCHES if run.norm == "bn" else ())}
        logits = predict(model, test)
        found["batch"][0] = accuracy(logits, test.labels)
        found["confidence"] = calibrate(logits, test.labels)
        for kind, splits in changed.items():
            guessed = {amount: predict(model, split) for amount, split in splits.items()}
            found[kind] = pd.Series({a: accuracy(g, test.labels) for a, g in guessed.items()})
        if run.norm == "bn":
            seen = {a: batch_accuracy(model, s, [512])[512] for a, s in changed["contrast"].items()}
            found["contrast in batches"] = pd.Series(seen)
        if run.skip:
            found["cut"] = cut_accuracy(model, test)
        for measure, values in found.items():
            rows = values.rename("value").rename_axis("at").reset_index()
            tables.append(rows.assign(norm=run.norm, skip=run.skip, seed=run.seed, measure=measure))
    return pd.concat(tables)[["norm", "skip", "seed", "measure", "at", "value"]]


def load_measured(path: Path = MEASURED) -> pd.DataFrame:
    """Return what :func:`measure_networks` measured.

    Raises:
        ValueError: if it is damaged, or of other networks than those whose weights are kept.
    """
    runs, columns = load_kept(), ["norm", "skip", "seed"]
    with suppress(ValueError, KeyError):  # it is damaged
        table = pd.read_csv(path, dtype={"at": str, "skip": bool})
        if set(runs.set_index(columns).index) == set(table.set_index(columns).index):
            return table
    raise ValueError(
        f"{path} must hold the {len(runs)} networks whose weights are kept, and no others "
        "(python -m study.inside measures them)"
    )


def count_networks() -> int:
    """Return how many networks of each norm were measured."""
    return int(load_measured().query("measure == 'batch' and at == '0'").norm.value_counts().min())


def numbers() -> dict[str, Any]:
    """Return what the pages say of the inside of networks: means over all that were measured."""
    table = load_measured()
    means = table[table["skip"]].groupby(["measure", "norm", "at"]).value.mean()
    quarter = table[table["at"] == "0.25"].groupby(["measure", "norm"]).value.describe()
    return {
        "batch": means["batch"],
        "cut": means["cut"],
        "fit": tabulate_fit(),
        "quarter": quarter.loc["contrast"],
        "quarter_in_batches": quarter.loc[("contrast in batches", "bn"), "mean"],
        "changed": average_changes(),
    }


@style()
def draw_confidence() -> Figure:
    """Draw how many predictions are right against how confident the network was of them."""
    table = load_measured().query("measure == 'confidence' and at != 'error'")
    figure, (ax,) = new_figure(3.9)
    ax.plot([10, 100], [10, 100], ":", color=COLORS["grey"])
    for norm in NAMES:
        some = table[table.norm == norm]
        line = 100 * some.groupby(100 * some["at"].astype(float)).value.mean()
        ax.plot(line, color=COLORS[norm], marker="o", label=NAMES[norm])
    ax.set(xlabel="confidence of the prediction (%)", ylabel="accuracy (%)")
    place_legend(figure, ax.get_lines()[1:], 4)
    title = f"Confidence and accuracy agree (means of {count_networks()} networks of each norm)"
    return finish(figure, title, [])


def tabulate_fit() -> pd.DataFrame:
    """Return by norm, in percent, accuracy in evaluation mode and the mean calibration error."""
    runs = load_part("long").query("norm != 'none'").groupby("norm")
    means = runs.agg(training=("train_accuracy_eval", "mean"), test=("test_accuracy", "mean"))
    errors = load_measured().query("measure == 'confidence' and at == 'error'").groupby("norm")
    return 100 * means.assign(gap=means.training - means.test, error=errors.value.mean())


def average_changes() -> pd.Series:
    """Return the mean accuracy over all networks, by change, norm and amount; 0 is none."""
    table = load_measured()
    rows = table[table.measure.isin(list(CHANGES))].astype({"at": float})
    unchanged = table.query("measure == 'batch' and at == '0'").assign(at=0.0)
    every = pd.concat([rows, *(unchanged.assign(measure=kind) for kind in CHANGES)])
    return every.groupby(["measure", "norm", "at"]).value.mean()


@style()
def draw_changes() -> Figure:
    """Draw the accuracy of each norm as the images change, from unchanged to hardly visible."""
    figure, axes = new_figure(3.3, 1, len(CHANGES))
    means = 100 * average_changes()
    for ax, (kind, (label, amounts)) in zip(axes, CHANGES.items(), strict=True):
        for norm in NAMES:
            line = [means[kind, norm, amount] for amount in (0.0, *amounts)]
            ax.plot(range(len(line)), line, "o-", color=COLORS[norm], label=NAMES[norm])
        labels = ["1" if kind == "contrast" else "0", *map(str, amounts)]
        ax.set_xticks(range(len(labels)), labels)
        ax.set(title=kind, xlabel=label, ylim=(0, 100))
        ax.tick_params(labelsize=10, labelleft=ax is axes[0])
    axes[0].set_ylabel("test accuracy (%)")
    place_legend(figure, axes[0].get_lines(), 4)
    title = f"Low contrast separates the norms most (means of {count_networks()} networks each)"
    return finish(figure, title, [])


def draw_contrast() -> Figure:
    """Draw one test image as its contrast falls, and the accuracy of each norm on such images."""
    image = read_picture(PICTURE)
    means = 100 * average_changes()["contrast"].unstack().rename(columns={0.0: 1.0})
    means = means.loc[list(NAMES)].sort_index(axis=1, ascending=False)
    n = count_networks()
    title = f"As contrast falls, BN fails first (test images, mean of {n} networks each)"
    return plot_contrast(image, means, "test accuracy (%)", title)


if __name__ == "__main__":
    torch.set_num_threads(1)  # 2.5 times as fast beside other work: batches are small
    with atomic_write(MEASURED) as partial:
        measure_networks().to_csv(partial, index=False, float_format="%.6g")
