import ast
import json
import os
import re
import shlex
import subprocess
import sys
import zipfile

import nbformat
import pytest
from nbclient import NotebookClient
from papermill import PapermillExecutionError
from PIL import Image

from era8 import kernel, load_data, load_runs
from era8.figures.style import THEMES
from era8.notebooks import NOTEBOOKS, NOTEBOOKS_FOLDER, check_parameters, execute
from era8.recipe import OPTIMIZERS

STUDY = NOTEBOOKS_FOLDER / "study.ipynb"
FIGURES = 10  # network, images, axes, curves, mistakes, classes, confusion, layers, skips, guesses


@pytest.fixture(params=NOTEBOOKS.values())
def notebook(request):
    return nbformat.read(NOTEBOOKS_FOLDER / request.param, as_version=4)


@pytest.fixture(params=[*NOTEBOOKS.values(), STUDY.name])
def any_notebook(request):
    return nbformat.read(NOTEBOOKS_FOLDER / request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def find_tagged(notebook, tag):
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def test_is_valid_and_for_any_machine(any_notebook):
    nbformat.validate(any_notebook)
    assert any_notebook.metadata.kernelspec.name == "python3"
    assert not {"widgets", "papermill"} & set(any_notebook.metadata)
    text = nbformat.writes(any_notebook)
    assert len(text) < 2_000_000
    assert "application/vnd.jupyter.widget" not in text and "tqdm" not in text
    assert not re.search(r"/(home|root|tmp|work|Users)/", text)


def test_imports_torch_after_era8_which_says_how_its_threads_wait(notebook):
    lines = "\n".join(cell.source for cell in code_cells(notebook)).splitlines()
    imports = [line for line in lines if re.match(r"(from|import) (era8|torch)\b", line)]
    assert imports[0].startswith("from era8") and "import torch" in imports[1:]


def test_colab_gives_it_a_gpu(notebook):
    assert notebook.metadata.accelerator == "GPU"


def test_has_one_parameters_cell_of_annotated_literals(notebook):
    (cell,) = find_tagged(notebook, "parameters")
    assert not find_tagged(notebook, "injected-parameters")
    for statement in ast.parse(cell.source).body:
        assert isinstance(statement, ast.AnnAssign)
        value = ast.literal_eval(statement.value)  # None: the optimizer's own
        assert value is None or type(value).__name__ == statement.annotation.id
        assert value is not None or statement.target.id in ("lr", "weight_decay")


def test_code_cells_are_short_and_introduced(any_notebook):
    for before, cell in zip(any_notebook.cells, any_notebook.cells[1:], strict=False):
        if cell.cell_type == "code":
            listed = "parameters" in cell.metadata.get("tags", [])  # one on each line, no code
            assert listed or len(cell.source.splitlines()) <= 12
            assert not re.search(r"^\s*(def|class) ", cell.source, re.MULTILINE)
            assert before.cell_type == "markdown" or before.source.count("\n") < 5


def test_outputs_are_kept_and_without_errors(any_notebook):
    outputs = [output for cell in code_cells(any_notebook) for output in cell.outputs]
    assert not any(output.output_type == "error" for output in outputs)
    assert not any(output.get("name") == "stderr" for output in outputs)
    assert all(cell.execution_count for cell in code_cells(any_notebook))


def test_every_figure_is_there(notebook):
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == FIGURES


INSTALL = ["install", "-q", "torchinfo"]
PACKAGE = ["era8/__init__.py", "era8/kernel.py"]
SET_UP = """
import json, os, sys
from IPython.core.interactiveshell import InteractiveShell

there = "installed" in sys.argv
sys.path = [path for path in sys.path if not os.path.exists(os.path.join(path, "era8"))]
sys.path += ["", *(["../installed"] if there else [])]
sys.modules |= {} if "torchinfo" in sys.argv else {"torchinfo": None}
shell = InteractiveShell.instance()


def pip(line):
    print("pip", line)
    sys.path.append("../installed")


shell.register_magic_function(pip)
for source in json.load(sys.stdin):
    shell.run_cell(source).raise_error()
print("imported", __import__("era8.kernel").kernel.__file__)
"""


@pytest.fixture
def content(tmp_path):
    """A folder as Colab's, and a function that runs the set-up in it, with a pip of its own."""

    def pack(name, inside, folder=""):
        with zipfile.ZipFile(tmp_path / "content" / name, "w") as file:
            for path in inside:
                file.writestr(folder + path, "")

    def set_up(*words, folder="content", repository=""):
        cells = code_cells(nbformat.read(NOTEBOOKS_FOLDER / NOTEBOOKS["bn"], as_version=4))[:3]
        cells[0].source = cells[0].source.replace('""', f'"{repository}"', 1)
        done = subprocess.run(
            [sys.executable, "-c", SET_UP, *words], cwd=tmp_path / folder, text=True,
            input=json.dumps([cell.source for cell in cells]), capture_output=True,
            env=os.environ | {"PYTHONPATH": "", "IPYTHONDIR": str(tmp_path / "ipython")},
        )  # fmt: skip
        asked = [line[4:] for line in done.stdout.splitlines() if line.startswith("pip ")]
        assert len(asked) < 2, done.stdout
        return (shlex.split(asked[0]) if asked else []), done.stdout + done.stderr

    for name in ("installed", "clone"):
        (tmp_path / name / "era8").mkdir(parents=True)
        for file in PACKAGE:
            (tmp_path / name / file).touch()
    (tmp_path / "clone" / "notebooks").mkdir()
    (tmp_path / "content").mkdir()
    pack("runs.zip", ["runs/bn/record.json"])  # the user's own
    (tmp_path / "content" / "broken.zip").write_text("half of an upload")
    return tmp_path, pack, set_up


@pytest.mark.process
@pytest.mark.parametrize("folder", ["content", "content/clone", "content/clone/notebooks"])
@pytest.mark.parametrize("torchinfo", [False, True])
def test_the_set_up_takes_a_clone_that_it_lies_in_or_beside(content, folder, torchinfo):
    """With torchinfo there, `pip install -e` has been run, which this Python has not seen."""
    root, _, set_up = content
    (root / "clone").rename(root / "content" / "clone")
    clone = str(root / "content" / "clone")
    asked, said = set_up(*(["torchinfo"] if torchinfo else []), folder=folder)
    assert asked == ([] if torchinfo else [*INSTALL, "-e", f"{clone}/"]), said
    assert f"imported {clone}/era8/kernel.py" in said or folder == "content/clone"


@pytest.mark.process
@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("era8-1.0.0-py3-none-any (1).whl", "era8-1.0.0-py3-none-any.whl"),
        ("era8-1.0.0-py3-none-any(2).whl", "era8-1.0.0-py3-none-any.whl"),
        ("era8-main (1).zip", "era8-main (1).zip"),
    ],
)
def test_the_set_up_takes_the_newest_archive_under_a_name_that_pip_takes(content, name, right):
    root, pack, set_up = content
    pack("era8-0.1.0-py3-none-any.whl", PACKAGE)
    os.utime(root / "content" / "era8-0.1.0-py3-none-any.whl", (1, 1))
    pack(name, PACKAGE, "" if "whl" in name else "era8-main/")
    asked, said = set_up()
    assert asked[:3] == INSTALL, said
    assert os.path.basename(asked[3]) == right and zipfile.is_zipfile(asked[3])
    assert "imported" in said


@pytest.mark.process
def test_the_set_up_takes_what_is_installed_or_an_address_or_says_what_to_do(content):
    root, _, set_up = content
    assert set_up("installed", "torchinfo")[0] == []
    assert set_up("installed")[0] == INSTALL  # as after pip install --no-deps
    asked, said = set_up(repository="someone/era8")
    assert asked == [*INSTALL, "git+https://github.com/someone/era8"] and "imported" in said
    (root / "content" / "era8").mkdir()  # a folder of that name is no package
    asked, said = set_up()
    assert asked == [] and "upload a wheel or a zip of era8, or set repository" in said


def test_all_notebooks_have_the_same_code():
    books = [nbformat.read(NOTEBOOKS_FOLDER / name, as_version=4) for name in NOTEBOOKS.values()]
    for cells in zip(*map(code_cells, books), strict=True):
        tags = [cell.metadata.get("tags", []) for cell in cells]
        assert tags[0] == tags[1] == tags[2]
        if tags[0] == ["derivation"]:
            assert all("by_hand" in cell.source for cell in cells)
        elif not tags[0]:
            assert len({re.sub('norm = "[a-z]+"', "", cell.source) for cell in cells}) == 1
    parameters = [find_tagged(book, "parameters")[0].source.splitlines() for book in books]
    own = [line for line in parameters[1] if line.startswith("groups")]
    assert len(own) == 1
    stems = [[line for line in lines if not line.startswith("groups")] for lines in parameters]
    assert stems[0] == stems[1] == stems[2]


def test_prose_has_no_result_typed_by_hand(any_notebook):
    prose = "\n".join(cell.source for cell in any_notebook.cells if cell.cell_type == "markdown")
    prose = re.sub(r"\[arXiv [^)]*\)|```.*?```", "", prose, flags=re.DOTALL)
    assert not re.search(r"\d+(\.\d+)? ?%|\d\d\.\d", prose)


@pytest.mark.process
def test_the_comparison_is_what_the_records_say(tmp_path):
    committed = nbformat.read(STUDY, as_version=4)
    execute(STUDY, tmp_path / "out.ipynb", cwd=STUDY.parent)
    executed = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    tables = [
        [
            o.data["text/plain"] if "data" in o else o.text
            for c in code_cells(book)
            for o in c.outputs
        ]
        for book in (committed, executed)
    ]
    assert tables[0] == tables[1] and len(tables[0]) >= 5


@pytest.mark.process
@pytest.mark.parametrize("watched", [False, True])
def test_a_bar_moves_only_where_somebody_looks(watched):
    """nbclient keeps each of its steps; JupyterLab and Colab let a notebook ask for input."""
    source = """
from functools import partial
from era8 import Recipe, Session8Net, fit, load_data, train
train.TICK, train.tqdm = 0, partial(train.tqdm, miniters=1)
fit(Session8Net(), load_data("synthetic", "cpu", 300), Recipe(epochs=2));"""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    client = NotebookClient(book, kernel_name="python3")
    with client.setup_kernel():
        client.kc.allow_stdin = watched
        client.execute_cell(book.cells[0], 0)
    text = "".join(output.text for output in book.cells[0].outputs)
    assert ("left\r" in text.replace(" \r", "\r")) == ("\r" in text) == watched
    assert text.count("\n") == len(re.findall("epoch  [12]/2  loss", text)) == 2


@pytest.mark.process
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"norm": "gn"}, "'norm' is no parameter of this notebook; it has epochs, batch_size"),
        ({"epoch": 1}, "'epoch' is no parameter of this notebook"),
        ({"groups": 4}, "'groups' is no parameter of this notebook"),
        ({"limits": False}, "'limits' is no parameter of this notebook"),
        ({"optimizer": "adam"}, "optimizer must be one of muon, sgd, adamw; got 'adam'"),
    ],
)
def test_what_papermill_injects_must_be_a_parameter(tmp_path, given, message):
    """papermill itself warns, and trains something else than was asked for."""
    quick = {"data_dir": "synthetic", "train_images": 200, "epochs": 1, "device": "cpu"}
    with pytest.raises(PapermillExecutionError, match=message):
        execute(NOTEBOOKS_FOLDER / NOTEBOOKS["bn"], tmp_path / "out.ipynb", quick | given)
    assert not (tmp_path / "runs").exists()


@pytest.mark.process
def test_an_optimizer_former_names_and_a_theme_reach_the_run(tmp_path):
    quick = {"data_dir": "synthetic", "train_images": 200, "epochs": 1, "device": "cpu"}
    quick |= {"compare_skip": False, "out_dir": str(tmp_path), "crop": 1, "optimizer": "sgd"}
    quick |= {"theme": "dark"}
    execute(NOTEBOOKS_FOLDER / NOTEBOOKS["bn"], tmp_path / "out.ipynb", quick)
    (run,) = load_runs(tmp_path).itertuples()
    own = OPTIMIZERS["sgd"]
    assert (run.optimizer, run.max_shift, run.lr) == ("sgd", 1, own["lr"])
    assert run.weight_decay == own["weight_decay"]
    paper = Image.open(f"{run.folder}/curves.png").convert("RGB").getpixel((0, 0))
    assert "#{:02x}{:02x}{:02x}".format(*paper) == THEMES["dark"]["paper"]


def test_all_cells_can_be_run_again_once_the_images_are_loaded(monkeypatch):
    """Then `data` is no text any more. In JupyterLab the runs lie where the commands put them."""
    monkeypatch.chdir(NOTEBOOKS_FOLDER)
    values = check_parameters("gn", {"data_dir": "synthetic", "device": "cpu"})
    for _ in range(2):
        assert kernel.start("gn", values) == 2
        values["data"] = load_data("synthetic", "cpu", 100)
        assert values["out_dir"] == "../runs"
