"""Notebooks in kernels of their own: what is said in them, and how a kernel may fail."""

import os
import re
import socket

import nbformat
import pytest
from jupyter_client.connect import LocalPortCache
from nbclient import NotebookClient
from papermill import PapermillExecutionError
from PIL import Image

from era8 import load_runs
from era8.figures.style import THEMES
from era8.notebooks import (
    NOTEBOOKS,
    NOTEBOOKS_FOLDER,
    RunError,
    execute,
    execute_into,
    find_notebook,
)
from era8.recipe import OPTIMIZERS

pytestmark = pytest.mark.process
STUDY = NOTEBOOKS_FOLDER / "study.ipynb"
QUICK = {"data_dir": "synthetic", "train_images": 200, "epochs": 1, "device": "cpu"}


def test_the_comparison_is_what_the_records_say(tmp_path):
    execute(STUDY, tmp_path / "out.ipynb", cwd=STUDY.parent)
    tables = []
    for path in (STUDY, tmp_path / "out.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        outputs = [o for cell in cells if cell.cell_type == "code" for o in cell.outputs]
        tables.append([o.data["text/plain"] if "data" in o else o.text for o in outputs])
    assert tables[0] == tables[1] and len(tables[0]) >= 5


@pytest.mark.parametrize("watched", [False, True])
def test_a_bar_moves_only_where_somebody_looks(watched):
    """nbclient keeps each of its steps; JupyterLab and Colab let a notebook ask for input."""
    source = """
from functools import partial
from era8 import Recipe, Session8Net, fit, load_data, progress
progress.TICK, progress.tqdm = 0, partial(progress.tqdm, miniters=1)
fit(Session8Net(), load_data("synthetic", "cpu", 300), Recipe(epochs=2));"""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    client = NotebookClient(book, kernel_name="python3")
    client.create_kernel_manager()
    client.km.transport = "ipc"  # has no port that another kernel takes first
    with client.setup_kernel():
        client.kc.allow_stdin = watched
        client.execute_cell(book.cells[0], 0)
    text = "".join(output.text for output in book.cells[0].outputs)
    assert ("left\r" in text.replace(" \r", "\r")) == ("\r" in text) == watched
    assert text.count("\n") == len(re.findall("epoch  [12]/2  loss", text)) == 2


def test_what_papermill_injects_must_be_a_parameter(tmp_path):
    """papermill itself warns, and trains something else than was asked for."""
    message = "'norm' is no parameter of this notebook; it has epochs, batch_size"
    with pytest.raises(PapermillExecutionError, match=message):
        execute(find_notebook("bn"), tmp_path / "out.ipynb", QUICK | {"norm": "gn"})


def test_an_optimizer_former_names_and_a_theme_reach_the_run(tmp_path):
    given = {"compare_skip": False, "out_dir": str(tmp_path), "crop": 1, "optimizer": "sgd"}
    execute(find_notebook("bn"), tmp_path / "out.ipynb", QUICK | given | {"theme": "dark"})
    (run,) = load_runs(tmp_path).itertuples()
    own = {"lr": run.lr, "weight_decay": run.weight_decay}
    assert (run.optimizer, run.max_shift, own) == ("sgd", 1, OPTIMIZERS["sgd"])
    paper = Image.open(f"{run.folder}/curves.png").convert("RGB").getpixel((0, 0))
    assert "#{:02x}{:02x}{:02x}".format(*paper) == THEMES["dark"]["paper"]


def test_an_error_in_a_notebook_is_one_sentence(tmp_path):
    diverges = {"out_dir": str(tmp_path / "runs"), "batch_size": 20, "lr": 1e9}
    message = "batch_norm.ipynb stopped with .*Error: the loss was not finite at epoch 1, step"
    with pytest.raises(RunError, match=message):
        execute_into(tmp_path / "bn", find_notebook("bn"), QUICK | diverges)
    assert list((tmp_path / "bn").iterdir()) == []


def test_a_kernel_that_dies(tmp_path):
    notebook, waiting = nbformat.read(find_notebook("bn"), as_version=4), tmp_path / "waiting"
    notebook.cells[2].source = f"""
import os
open({str(waiting)!r}, "w").write(os.environ["GOMP_SPINCOUNT"])
os._exit(1)"""
    nbformat.write(notebook, tmp_path / NOTEBOOKS["bn"])
    with pytest.raises(RunError, match="the kernel of batch_norm.ipynb died"):
        execute_into(tmp_path / "runs", tmp_path / NOTEBOOKS["bn"])
    assert list((tmp_path / "runs").iterdir()) == []
    assert waiting.read_text() == os.environ["GOMP_SPINCOUNT"]  # as in every process of era8


def test_a_kernel_whose_ports_another_process_took(tmp_path, monkeypatch):
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
