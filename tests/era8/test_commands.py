"""The commands, and the notebooks that they run, as a user would start them."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys

import nbformat
import psutil
import pytest
from click.testing import CliRunner
from jupyter_client.connect import LocalPortCache
from jupyter_client.kernelspec import NoSuchKernel

from era8 import load_runs
from era8.__main__ import main
from era8.notebooks import (
    NOTEBOOKS,
    EpochLines,
    RunError,
    check_parameters,
    execute,
    find_notebook,
    run_notebook,
)
from era8.records import CHECKPOINT

FIGURES = 10  # network, images, axes, curves, mistakes, classes, confusion, layers, skips, guesses
QUICK = ["--data", "synthetic", "--epochs", "1", "--train-images", "200", "-p", "device", "cpu"]


def era8(*arguments, cwd, preexec_fn=None, **environment):
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "era8", *arguments],
        cwd=cwd,
        preexec_fn=preexec_fn,
        env={**os.environ, "ERA8_DATA": "", **environment},
        capture_output=True,
        text=True,
        timeout=900,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """All three notebooks, run by the command on a few generated pictures."""
    folder = tmp_path_factory.mktemp("all")
    return folder / "runs", era8("run", *QUICK, "--require-goal", "--workers", "2", cwd=folder)


@pytest.mark.process
@pytest.mark.parametrize("norm", NOTEBOOKS)
def test_a_run_leaves_a_whole_folder(finished, norm):
    folder, _ = finished
    figures = {f"{n}.png" for n in "curves misclassified per_class confusion skips".split()}
    files = {"record.json", "history.csv", "weights.pt", NOTEBOOKS[norm]}
    own = folder / f"{norm}-seed=0-epochs=1-train_images=200-data=synthetic"
    there = {path.name for path in own.iterdir() if path.suffix != ".lock"}
    assert there - {".lock"} == files | figures
    executed = nbformat.read(own / NOTEBOOKS[norm], as_version=4)
    outputs = [o for cell in executed.cells if cell.cell_type == "code" for o in cell.outputs]
    assert sum("image/png" in o.get("data", {}) for o in outputs) == FIGURES
    assert not any(o.output_type == "error" or o.get("name") == "stderr" for o in outputs)
    (table,) = [
        html for o in outputs if "this run" in (html := o.get("data", {}).get("text/html", ""))
    ]
    assert "synthetic" in table


@pytest.mark.process
def test_records_of_the_runs(finished):
    folder, _ = finished
    table = load_runs(folder)
    assert sorted(table.norm) == ["bn", "bn", "gn", "gn", "ln", "ln"]
    assert table.groupby("norm")["skip"].apply(set).tolist() == [{True, False}] * 3
    assert set(table.data) == {"synthetic"} and set(table.n_parameters) == {22_672}
    assert set(table.train_images) == {200} and set(table.epochs) == {1}


@pytest.mark.process
def test_the_command_ends_with_a_table(finished):
    folder, result = finished
    *lines, last = result.stdout.strip().splitlines()[-8:]
    assert last == f"written to {folder}"
    assert lines[0].split()[:3] == ["norm", "skips", "data"]
    assert [line.split()[0] for line in lines[1:]] == ["bn", "bn", "gn", "gn", "ln", "ln"]
    accuracy = load_runs(folder).test_accuracy[0]
    assert f"{accuracy:.2%}".replace("%", " %") in lines[1]
    assert all("not on CIFAR-10" in line for line in lines[1:])
    assert "6 trainings (epochs: 1, images: 200), 2 at a time\n" in result.stderr
    assert "3 notebooks to execute\n" in result.stderr


@pytest.mark.process
def test_what_is_finished_stays_finished(finished):
    """The same command once more trains nothing; a notebook that is gone alone is made again."""
    folder, _ = finished
    path = folder / "gn-seed=0-epochs=1-train_images=200-data=synthetic" / NOTEBOOKS["gn"]
    before = {p: p.read_bytes() for p in folder.rglob("*.json")} | {
        p: p.read_bytes() for p in folder.rglob("*.ipynb") if p != path
    }
    path.unlink()
    result = era8("run", *QUICK, cwd=folder.parent)
    assert result.returncode == 0, result.stderr
    assert "epoch  1/1" not in result.stdout and path.exists()
    assert path.read_text().count("trained before: ") == path.read_text().count("  epoch  1/1") == 2
    assert {p: p.read_bytes() for p in before} == before


@pytest.mark.process
def test_several_seeds_have_a_notebook_each_and_a_report(tmp_path):
    words = ["run", "gn", "--seed", "0..1", *QUICK, "-p", "compare_skip", "false"]
    result = era8(*words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    runs = tmp_path / "runs"
    for seed in (0, 1):
        name = f"gn-seed={seed}-epochs=1-train_images=200-data=synthetic"
        assert (runs / name / "record.json").exists() and (runs / name / NOTEBOOKS["gn"]).exists()
    *_, row, report, _ = result.stdout.splitlines()
    assert re.fullmatch(r" *gn +[\d.]+ ± [\d.]+ +2", row) and report.endswith("runs/report.ipynb")
    assert (runs / "report.ipynb").exists()


@pytest.mark.process
def test_a_goal_that_is_missed_fails(finished):
    _, result = finished
    assert result.returncode == 1
    assert "Error: a run misses one of the assignment's conditions" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bm"], "norm must be one of bn, gn, ln; got 'bm'"),
        (
            ["-p", "model", "resnet"],
            "model must be one of session8, norm_first, deep, separable, dilated, "
            "module:Class of your own",
        ),
        (["gn", "-p", "groups", "3"], "divides the 16 channels; got 3"),
        (["--train-images", "0"], "train_images must be a whole number of at least 1; got 0"),
        (["--train-images", "100", "-p", "batch_size", "101"], "at most the 100 training images"),
        (["--out", ""], "out_dir must be a folder that is there or can be made, such as"),
        (["--out", "~nosuchuser"], "such as runs; got '~nosuchuser'"),
        (["-p", "lr", "9" * 400], "lr must be a number above 0 and below 1e+15; got inf"),
        (["-p", "device", "mps"], "device must be auto or one that this machine has"),
        (["--seed", "0..x"], "seed must be of type int; got '0..x'"),
        (["--epochs", "0"], "epochs must be a whole number of at least 1; got 0"),
        (["--epochs", "20"], "epochs must be below 20, the assignment's limit; got 20"),
        (["--workers", "0"], "workers must be auto or a whole number of at least 1; got '0'"),
        (["--epochs", "two"], "epochs must be of type int; got 'two'"),
        (["-p", "lr", "-0.1"], "lr must be a number above 0 and below 1e+15; got -0.1"),
        (["-p", "lr", "nan"], "lr must be a number above 0 and below 1e+15; got nan"),
        (["-p", "batch_size", "0"], "batch_size must be a whole number of at least 1; got 0"),
        (["-p", "compare_skip", "maybe"], "compare_skip must be true or false; got 'maybe'"),
        (["-p", "device", "tpu9"], "device must be auto or one that this machine has"),
        (["-p", "device", "cuda:7"], "device must be auto or one that this machine has"),
        (["-p", "epoch", "3"], "'epoch' is not a parameter of batch_norm.ipynb; it has epochs"),
        (["bn", "-p", "groups", "2"], "'groups' is not a parameter of batch_norm.ipynb"),
        (["-p", "picture", "no.png"], "there is no file 'no.png'; name a PNG or a JPEG"),
        (["-p", "pretrained", "true"], "pretrained must be False, for run trains"),
        (["-p", "pretrained", "true", "-p", "val_images", "9"], "unless CIFAR-10's test images"),
        (["-p", "theme", "pink"], "theme must be one of light, dark; got 'pink'"),
        (["--data", "nowhere"], "no CIFAR-10 in nowhere"),
        (["--epochs", "5", "-p", "epochs", "3"], "epochs is given twice; give it once"),
        (["--seed", "0", "-p", "seed", "3"], "seed is given twice; give it once"),
        (["-p", "lr", "1", "-p", "lr", "2"], "lr is given twice; give it once"),
        (["-p", "out_dir", "elsewhere"], "out_dir is given twice; give it once"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(tmp_path, arguments, message):
    result = CliRunner().invoke(main, ["run", "--out", str(tmp_path / "runs"), *arguments])
    assert result.exit_code == 1
    assert message in result.output and result.output.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.process
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("lr", 1e9, "the loss was not finite at epoch 1, step"),
    ],
)
def test_an_error_in_a_notebook_is_one_sentence(tmp_path, name, value, message):
    quick = {"data_dir": "synthetic", "train_images": 200, "device": "cpu", "epochs": 1}
    quick["out_dir"] = str(tmp_path / "runs")
    quick["batch_size"] = 20  # ten steps, enough to diverge
    with pytest.raises(RunError, match=f"batch_norm.ipynb stopped with .*Error: {message}"):
        run_notebook("bn", tmp_path / "bn", quick | {name: value})
    assert list((tmp_path / "bn").iterdir()) == []


def test_out_dir_that_cannot_be_made(tmp_path):
    (tmp_path / "runs").write_text("a file")
    result = CliRunner().invoke(main, ["run", "bn", *QUICK, "--out", str(tmp_path / "runs")])
    assert result.exit_code == 1
    assert result.output.startswith("Error: ") and "runs" in result.output


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_out_dir_without_the_right_to_write(tmp_path):
    result = CliRunner().invoke(main, ["run", "bn", *QUICK, "--out", "/proc/runs"])
    assert result.exit_code == 1
    assert result.output.startswith("Error: ") and "/proc/runs" in result.output


@pytest.mark.process
def test_disk_that_takes_no_more(tmp_path):
    """A limit on the size of files stands for a full disk: the system refuses to write more."""
    resource = pytest.importorskip("resource")
    limit = (50_000, 50_000)
    result = era8(
        *("run", "bn", *QUICK),
        cwd=tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    assert result.returncode == 1
    assert "File too large" in result.stderr and "Traceback" not in result.stderr
    assert list(tmp_path.rglob("*.json")) == list(tmp_path.rglob("*.partial*")) == []


@pytest.mark.process
def test_no_network_and_no_data(tmp_path, monkeypatch):
    """A proxy that refuses stands for no network; the fallback is announced, and never silent."""
    offline = {"https_proxy": "http://127.0.0.1:9", "no_proxy": "", "ERA8_DATA": ""}
    for name, value in (offline | {"XDG_CACHE_HOME": str(tmp_path / "cache")}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["run", "ln", *QUICK[2:]])
    assert result.exit_code == 1 and "Error: CIFAR-10 could not be fetched" in result.output
    assert not (tmp_path / "runs").exists()

    quick = [*QUICK[2:], "-p", "compare_skip", "false"]
    result = CliRunner().invoke(main, ["run", "ln", *quick, "--or-synthetic"])
    assert result.exit_code == 0, result.output
    assert "SYNTHETIC" in result.stderr
    assert "synthetic" in result.stdout.splitlines()[-2]


@pytest.mark.process
def test_ctrl_c_leaves_nothing_half_written(tmp_path):
    command = [sys.executable, "-m", "era8", "run", "bn", "--data", "synthetic"]
    command += ["--train-images", "1000"]  # seconds to the end, tenths of one to the first epoch
    command += ["-p", "compare_skip", "false"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # What a shell starts in the background ignores Ctrl-C, and so would this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    for line in process.stdout:  # the notebook trains: it has reported its first epoch
        if "epoch" in line:
            break
    kernels = psutil.Process(process.pid).children(recursive=True)
    assert kernels
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Error: stopped; the same command resumes" in errors and "Traceback" not in errors
    (folder,) = (tmp_path / "runs").iterdir()
    there = {path.name for path in folder.iterdir()}
    assert CHECKPOINT in there and not there & {"record.json", "weights.pt", NOTEBOOKS["bn"]}
    gone, alive = psutil.wait_procs(kernels, timeout=10)
    assert not alive


def test_publish_takes_no_other_parameters(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    elsewhere = ["--out", "elsewhere"], ["-p", "out_dir", "elsewhere"]  # the notebooks would say it
    for arguments in (["--epochs", "2"], ["--data", "synthetic"], ["-p", "lr", "0.1"], *elsewhere):
        result = CliRunner().invoke(main, ["run", "bn", "--publish", *arguments])
        assert result.exit_code == 1 and "--publish goes with" in result.output
    assert not list(tmp_path.iterdir())


@pytest.mark.process
def test_kernel_that_dies(tmp_path, monkeypatch):
    notebook = nbformat.read(find_notebook("bn"), as_version=4)
    waiting = tmp_path / "waiting"
    notebook.cells[2].source = f"""
import os
open({str(waiting)!r}, "w").write(os.environ["GOMP_SPINCOUNT"])
os._exit(1)"""
    nbformat.write(notebook, tmp_path / NOTEBOOKS["bn"])
    monkeypatch.setattr("era8.notebooks.NOTEBOOKS_FOLDER", tmp_path)
    with pytest.raises(RunError, match="the kernel of batch_norm.ipynb died"):
        run_notebook("bn", tmp_path / "runs", {"data_dir": "synthetic"})
    assert list((tmp_path / "runs").iterdir()) == []
    assert waiting.read_text() == os.environ["GOMP_SPINCOUNT"]  # as in every process of era8


@pytest.mark.parametrize("kind", [RuntimeError, NoSuchKernel])
def test_kernel_that_cannot_start(tmp_path, monkeypatch, kind):
    def refuse(source, executed, *args, **kwargs):
        assert "note{{s}}" in source  # papermill fills in braces
        raise kind("it died before\nreplying to kernel_info")

    (tmp_path / "note{s}").mkdir()
    shutil.copy(find_notebook("bn"), tmp_path / "note{s}")
    monkeypatch.setattr("era8.notebooks.NOTEBOOKS_FOLDER", tmp_path / "note{s}")
    monkeypatch.setattr("papermill.execute_notebook", refuse)
    with pytest.raises(
        RunError, match="the kernel of .* could not be started: .*it died before rep"
    ):
        run_notebook("bn", tmp_path / "run", {"data_dir": "synthetic"})
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.process
def test_kernel_whose_ports_another_process_took(tmp_path, monkeypatch):
    """Its next start has other ports; the cells run once."""
    choose, chosen = LocalPortCache.find_available_port, []

    def choose_taken(cache, ip):
        chosen.append(choose(cache, ip) if len(chosen) >= 5 else taken.getsockname()[1])
        return chosen[-1]

    monkeypatch.setattr(LocalPortCache, "find_available_port", choose_taken)
    cell = nbformat.v4.new_code_cell(f"print(1, file=open({str(tmp_path / 'ran')!r}, 'a'))")
    metadata = {"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}
    book = nbformat.v4.new_notebook(cells=[cell], metadata=metadata)
    nbformat.write(book, tmp_path / "book.ipynb")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        execute(tmp_path / "book.ipynb", tmp_path / "executed.ipynb")
    assert len(chosen) == 10 and (tmp_path / "ran").read_text() == "1\n"


def test_the_lines_of_epochs_are_found_among_what_moves():
    lines = []
    output = EpochLines(lines.append)
    output.write("epoch  1/2   40 %  3 s left\r      \repoch  1/2  loss 1.0  3.5 s\nelse\n")
    output.write("epoch  2/2  loss 0.5  1.2 s\n")
    assert lines == ["epoch  1/2  loss 1.0  3.5 s", "epoch  2/2  loss 0.5  1.2 s"]


def test_parameters_take_their_types_from_the_notebook():
    typed = check_parameters("gn", {"epochs": "3", "lr": "1", "skip": "False", "groups": 4})
    assert (typed["epochs"], typed["lr"], typed["skip"], typed["groups"]) == (3, 1.0, False, 4)
    assert typed["seed"] == 0 and typed["compare_skip"] is True
    for name, value in [("epochs", 2.5), ("epochs", True), ("skip", 1), ("data_dir", 3)]:
        with pytest.raises(ValueError, match=f"{name} must be (of type|true or false)"):
            check_parameters("gn", {name: value})


def test_notebook_of_an_unknown_norm():
    with pytest.raises(ValueError, match="norm must be one of bn, gn, ln; got 'none'"):
        find_notebook("none")
