"""The committed notebooks as files, and what they ask of their parameters."""

import ast
import re
import shutil

import nbformat
import pytest
from jupyter_client.kernelspec import NoSuchKernel

from era8 import kernel, load_data
from era8.notebooks import (
    NOTEBOOKS,
    NOTEBOOKS_FOLDER,
    EpochLines,
    RunError,
    check_parameters,
    execute_into,
    find_notebook,
)

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
    assert not any("Units." in output.get("text", "") for output in outputs)


def test_every_figure_is_there(notebook):
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == FIGURES


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


def test_all_cells_can_be_run_again_once_the_images_are_loaded(monkeypatch):
    """Then `data` is no text any more. In JupyterLab the runs lie where the commands put them."""
    monkeypatch.chdir(NOTEBOOKS_FOLDER)
    values = check_parameters("gn", {"data_dir": "synthetic", "device": "cpu"})
    for _ in range(2):
        assert kernel.start("gn", values) == 2
        values["data"] = load_data("synthetic", "cpu", 100)
        assert values["out_dir"] == "../runs"


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
def test_what_is_injected_must_be_a_parameter(given, message):
    (cell,) = find_tagged(nbformat.read(find_notebook("bn"), as_version=4), "parameters")
    injected = "".join(f"{name} = {value!r}\n" for name, value in given.items())
    values = {"In": ["", cell.source, f"# Parameters\n{injected}"]}
    exec(f"{cell.source}\n{injected}", values)
    with pytest.raises(ValueError, match=message):
        kernel.start("bn", values)


@pytest.mark.parametrize("kind", [RuntimeError, NoSuchKernel])
def test_kernel_that_cannot_start(tmp_path, monkeypatch, kind):
    def refuse(source, executed, *args, **kwargs):
        assert "note{{s}}" in source  # papermill fills in braces
        raise kind("it died before\nreplying to kernel_info")

    (tmp_path / "note{s}").mkdir()
    notebook = tmp_path / "note{s}" / NOTEBOOKS["bn"]
    shutil.copy(find_notebook("bn"), notebook)
    monkeypatch.setattr("papermill.execute_notebook", refuse)
    with pytest.raises(
        RunError, match="the kernel of .* could not be started: .*it died before rep"
    ):
        execute_into(tmp_path / "run", notebook)
    assert list((tmp_path / "run").iterdir()) == []


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
