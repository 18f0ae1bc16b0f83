"""What is imported when: seconds pass before each of these answers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[2]

HEAVY = "torch numpy pandas matplotlib seaborn scipy statsmodels papermill ray".split()
COMMAND = "from era8.__main__ import main; main({!r}, standalone_mode=False)"


def imported(statement):
    """Return which of the heavy libraries a statement imports in a process of its own."""
    program = f"{statement}\nimport sys; print('imported', *sys.modules)"
    output = subprocess.check_output([sys.executable, "-c", program], text=True)
    return set(HEAVY) & set(output.splitlines()[-1].split())


@pytest.mark.parametrize(
    "statement",
    ["import era8", *(COMMAND.format(words) for words in (["--help"], ["sweep", "--help"]))],
)
def test_nothing_heavy_is_imported_before_it_is_needed(statement):
    assert imported(statement) == set()


def test_training_draws_nothing():
    wanted = {"torch", "numpy", "pandas"}  # it ends with a table of the mistakes
    assert imported("from era8 import Recipe, Session8Net, fit, load_data") == wanted


def test_a_trained_network_needs_no_tables():
    assert imported("import hubconf; hubconf.session8()") == {"torch", "numpy"}


def test_a_sweep_needs_no_papermill_and_a_notebook_says_that_it_does(tmp_path):
    for name in ("papermill", "nbclient", "nbformat"):
        text = f"raise ModuleNotFoundError('No module named {name}', name={name!r})"
        (tmp_path / f"{name}.py").write_text(text)
    quick = ["--data", "synthetic", "--train-images", "200", "--epochs", "1"]
    done = {
        command: subprocess.run(
            [sys.executable, "-m", "era8", command, *quick, "--out", str(tmp_path / "runs")],
            env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}, capture_output=True, text=True,
        )
        for command in ("sweep", "run")
    }  # fmt: skip
    assert done["sweep"].returncode == 0 and list(tmp_path.glob("runs/bn-*/record.json"))
    assert done["run"].stderr.replace("at work\n", "") == (
        "loading PyTorch\nError: this command needs papermill; install it: pip install papermill\n"
    )


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("GOMP_SPINCOUNT", {}, "1000"),
        ("GOMP_SPINCOUNT", {"GOMP_SPINCOUNT": "7"}, "7"),
        ("GOMP_SPINCOUNT", {"OMP_WAIT_POLICY": "active"}, ""),
        ("GLIBC_TUNABLES", {}, "glibc.malloc.hugetlb=1"),
        ("GLIBC_TUNABLES", {"GLIBC_TUNABLES": "glibc.malloc.check=0"}, "glibc.malloc.check=0"),
    ],
)
def test_threads_do_not_spin_and_pages_are_large_unless_the_user_says_so(name, given, expected):
    own = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "GLIBC_TUNABLES")
    plain = {n: v for n, v in os.environ.items() if n not in own}
    program = f"import os, era8; os.system('echo ${name}')"
    output = subprocess.check_output([sys.executable, "-c", program], env=plain | given, text=True)
    assert output.strip() == expected
