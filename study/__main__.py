"""The README and its figures, rebuilt from the records in results/."""

from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import papermill
from matplotlib.figure import Figure

from benchmarks import figures as bench_plots
from benchmarks import report as bench_report
from era8 import figures as plots
from era8.data import load_cifar10
from era8.figures.style import FULL_NAMES as NAMES
from era8.notebooks import NOTEBOOKS, NOTEBOOKS_FOLDER, publish
from era8.records import Record, load_run, whole
from study import accurate, fast, mechanism_plots
from study import epochs as study_epochs
from study import plots as study_plots
from study import runs as study
from study.readme import ROOT, read_repository, render, stamp

COMPARE = NOTEBOOKS_FOLDER / "study.ipynb"


def build(results: Path) -> None:
    """Rebuild the README's tables, its figures and its links, and run study.ipynb again.

    Args:
        results: holds ``bn``, ``gn`` and ``ln``, each as a notebook's ``out_dir`` is left.

    Raises:
        ValueError: if a record is missing, damaged, or of synthetic pictures.
    """
    records = load_reference(results)
    study.load_part()  # so that a run that is missing is named at once
    readme = ROOT / "README.md"
    with TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        executed = Path(folder, COMPARE.name)
        compared = pool.submit(  # on another core; both are done before anything is written
            papermill.execute_notebook, COMPARE, executed, cwd=COMPARE.parent,
            kernel_name="python3", progress_bar=False, extra_arguments=["--log-level=CRITICAL"],
        )  # fmt: skip
        text = render(readme.read_text(), records)
        pictures = {name: encode(figure) for name, figure in draw_all(records).items()}
        compared.result()
        publish(executed, COMPARE)
    (ROOT / "figures").mkdir(exist_ok=True)
    for name, picture in pictures.items():
        with whole(ROOT / "figures" / f"{name}.png") as path:
            path.write_bytes(picture)
    with whole(readme) as path:
        path.write_text(text)
    for name in NOTEBOOKS.values():
        stamp(NOTEBOOKS_FOLDER / name, read_repository())


def draw_all(records: dict[tuple[str, bool], Record]) -> dict[str, Figure]:
    """Return the README's figures, by the name of their file.

    Args:
        records: what :func:`load_reference` returns.
    """
    images = load_cifar10(device="cpu").test
    long_runs, runs = study.load_long_runs(), study.load_part("norms and skips")
    epochs, inside = study_epochs.load_epochs(long_runs), study.load_mechanisms()
    figures = {
        "axes": plots.plot_axes(*NAMES),
        "curves": study_epochs.plot_epochs(epochs),
        "differences": study_epochs.plot_differences(epochs),
        "per_class": plots.plot_per_class({norm: records[norm, True] for norm in NAMES}),
    }
    for norm in NAMES:
        record = records[norm, True]
        pair = {"with skips": record, "without": records[norm, False]}
        figures[f"{norm}_curves"] = plots.plot_curves(pair)
        figures[f"{norm}_confusion"] = plots.plot_confusion(record)
        mistakes = pd.DataFrame(record.misclassified)
        figures[f"{norm}_misclassified"] = plots.plot_misclassified(images, mistakes)
    figures |= {
        "candidates": accurate.plot_candidates(accurate.load_candidates()),
        "fast": fast.plot_fast(fast.summarise(fast.load_fast())),
        "accuracies": study_plots.plot_accuracies(runs),
        "long_accuracies": study_plots.plot_accuracies(long_runs),
        "long_effects": study_plots.plot_effects(long_runs),
        "depth": study_plots.plot_accuracies(study.load_part("depth")),
        "effects": study_plots.plot_effects(runs),
        "learning_rates": study_plots.plot_learning_rates(study.load_part("learning rates")),
        "groups": study_plots.plot_groups(study.load_part("groups")),
        "training_batches": study_plots.plot_batch_sizes(study.load_part("batch sizes")),
        "gradients": mechanism_plots.plot_gradients(inside),
        "activations": mechanism_plots.plot_activations(inside),
        "cuts": mechanism_plots.plot_cuts(inside),
        "batches": mechanism_plots.plot_batches(inside),
    }
    if speed := bench_report.load_results():
        figures |= bench_plots.draw_all(speed)
    return figures


def encode(figure: Figure) -> bytes:
    """Return a figure as a PNG."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def load_reference(results: Path) -> dict[tuple[str, bool], Record]:
    """Return the six records behind the README, by norm and skip."""
    records = {}
    for norm in NAMES:
        for folder, skip in ((results / norm, True), (results / norm / "without_skip", False)):
            record = load_run(folder)
            if (record.norm, record.skip, record.data) != (norm, skip, "cifar10"):
                raise ValueError(
                    f"{folder} must hold a run of {norm} with skip={skip} on cifar10; it holds "
                    f"{record.norm} with skip={record.skip} on {record.data}"
                )
            records[norm, skip] = record
    return records


if __name__ == "__main__":
    build(ROOT / "results")
