"""The command era8 run, and the notebooks that it executes, as a user would start them."""

import re
import signal

import nbformat
import psutil
import pytest
from support import command, invoke, start

from era8 import load_runs
from era8.disk import CHECKPOINT
from era8.notebooks import NOTEBOOKS

pytestmark = pytest.mark.process
FIGURES = 10  # network, images, axes, curves, mistakes, classes, confusion, layers, skips, guesses
SMALL = "--epochs 1 --train-images 200 -p device cpu".split()
QUICK = ["--data", "synthetic", *SMALL]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """All three notebooks, run by the command on a few synthetic images."""
    folder = tmp_path_factory.mktemp("all")
    return folder / "runs", command(folder, "run", *QUICK, "--require-goal", "--workers", 2)


@pytest.mark.parametrize("norm", NOTEBOOKS)
def test_a_run_leaves_a_whole_folder(finished, norm):
    figures = {f"{n}.png" for n in "curves misclassified per_class confusion skips".split()}
    files = {"record.json", "history.csv", "weights.pt", NOTEBOOKS[norm]}
    own = finished[0] / f"{norm}-seed=0-epochs=1-train_images=200-data=synthetic"
    assert {path.name for path in own.iterdir()} - {".lock"} == files | figures
    executed = nbformat.read(own / NOTEBOOKS[norm], as_version=4)
    outputs = [o for cell in executed.cells if cell.cell_type == "code" for o in cell.outputs]
    assert sum("image/png" in o.get("data", {}) for o in outputs) == FIGURES
    assert not any(o.output_type == "error" or o.get("name") == "stderr" for o in outputs)
    pages = [o.get("data", {}).get("text/html", "") for o in outputs]
    (table,) = [page for page in pages if "this run" in page]
    assert "synthetic" in table


def test_the_command_ends_with_a_table_and_fails_if_a_goal_is_missed(finished):
    folder, (code, output, errors) = finished
    *lines, last = output.strip().splitlines()[-8:]
    assert last == f"written to {folder}"
    assert lines[0].split()[:3] == ["norm", "skips", "data"]
    shown = [line.split()[:4] for line in lines[1:]]
    wanted = [[n, skip, "synthetic", "22,672"] for n in NOTEBOOKS for skip in ("no", "yes")]
    assert shown == wanted
    accuracy = load_runs(folder).test_accuracy[0]
    assert f"{accuracy:.2%}".replace("%", " %") in lines[1]
    assert all("not on CIFAR-10" in line for line in lines[1:])
    assert "6 trainings (epochs: 1, images: 200), 2 at a time\n" in errors
    assert "3 notebooks to execute\n" in errors
    assert code == 1 and "Error: a run misses one of the assignment's conditions" in errors


def test_what_is_finished_stays_finished(finished):
    """The same command once more trains nothing; a notebook that is gone alone is made again."""
    folder, _ = finished
    path = folder / "gn-seed=0-epochs=1-train_images=200-data=synthetic" / NOTEBOOKS["gn"]
    kept = [p for ending in ("json", "ipynb") for p in folder.rglob(f"*.{ending}") if p != path]
    before = {p: p.read_bytes() for p in kept}
    path.unlink()
    code, output, errors = command(folder.parent, "run", *QUICK)
    assert code == 0, errors
    assert "epoch  1/1" not in output and path.exists()
    assert path.read_text().count("trained before: ") == path.read_text().count("  epoch  1/1") == 2
    assert {p: p.read_bytes() for p in before} == before


def test_a_notebook_that_is_to_show_something_else_is_executed_again(finished):
    folder, _ = finished
    path = folder / "ln-seed=0-epochs=1-train_images=200-data=synthetic" / NOTEBOOKS["ln"]
    code, _, errors = command(folder.parent, "run", "ln", *QUICK, "-p", "theme", "dark")
    assert code == 0 and "0 trainings" in errors and "1 notebooks to execute" in errors
    assert 'theme = "dark"' in path.read_text().replace("\\", "")


def test_several_seeds_have_a_notebook_each_and_a_report(tmp_path):
    words = ["run", "gn", "--seed", "0..1", *QUICK, "-p", "compare_skip", "false"]
    code, output, errors = command(tmp_path, *words)
    assert code == 0, errors
    runs = tmp_path / "runs"
    for seed in (0, 1):
        name = f"gn-seed={seed}-epochs=1-train_images=200-data=synthetic"
        assert (runs / name / "record.json").exists() and (runs / name / NOTEBOOKS["gn"]).exists()
    *_, row, report, _ = output.splitlines()
    assert re.fullmatch(r" *gn +[\d.]+ ± [\d.]+ +2", row) and report.endswith("runs/report.ipynb")
    assert (runs / "report.ipynb").exists()


def test_no_network_and_no_data(tmp_path, monkeypatch):
    """A proxy that refuses stands for no network; the fallback is announced, and never silent."""
    offline = {"https_proxy": "http://127.0.0.1:9", "no_proxy": "", "ERA8_DATA": ""}
    for name, value in (offline | {"XDG_CACHE_HOME": str(tmp_path / "cache")}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    result = invoke("run", "ln", *SMALL)
    assert result.exit_code == 1 and "Error: CIFAR-10 could not be fetched" in result.output
    assert not (tmp_path / "runs").exists()

    result = invoke("run", "ln", *SMALL, "-p", "compare_skip", "false", "--or-synthetic")
    assert result.exit_code == 0, result.output
    assert "SYNTHETIC" in result.stderr
    assert "synthetic" in result.stdout.splitlines()[-2]


def test_ctrl_c_leaves_nothing_half_written(tmp_path):
    words = "run bn --data synthetic --train-images 1000 -p compare_skip false".split()
    process = start(
        tmp_path, *words,
        # What a shell starts in the background ignores Ctrl-C, and so would this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    for line in process.stdout:
        if "loss" in line:  # of an epoch that has ended
            break
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Error: stopped; the same command resumes" in errors and "Traceback" not in errors
    (folder,) = (tmp_path / "runs").iterdir()
    there = {path.name for path in folder.iterdir()}
    assert CHECKPOINT in there and not there & {"record.json", "weights.pt", NOTEBOOKS["bn"]}
    assert psutil.wait_procs(children, timeout=10)[1] == []
