"""The notebooks with blanks to fill in, made from those without: python -m study.students.

What a blank hides is a notebook's own code, or that of pages/students.md.
"""

import re
from itertools import groupby

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from era8.disk import atomic_write
from era8.notebooks import NOTEBOOKS, NOTEBOOKS_FOLDER
from study.runs import ROOT

ADDED = ROOT / "study" / "pages" / "students.md"
HIDDEN = re.compile(  # how the lines begin that are to be written, in cells tagged `derivation`
    r" *(mean|var|by_hand|running|running_var|used|logits|loss|sgd\.\w+|first\.weight|before)\b"
)
HINT = re.compile(r"( *)(.*?) = .*?(  # .*)?$")  # of such a line: its names and its comment
SOLUTION = "<details><summary>Solution</summary>\n\n```python\n{}\n```\n\n</details>"
MOVED = {
    "(study.ipynb)": "(../study.ipynb)", "(../docs/": "(../../docs/",
    "/main/notebooks/": "/main/notebooks/students/",
}  # fmt: skip


def make_students() -> dict[str, str]:
    """Return the text of each student version by its path from the top of the repository."""
    texts = {}
    for name in NOTEBOOKS.values():
        notebook = nbformat.read(NOTEBOOKS_FOLDER / name, as_version=4)
        notebook.cells = add_blanks(notebook.cells)
        text = nbformat.writes(notebook) + "\n"
        for old, new in MOVED.items():
            text = text.replace(old, new)
        texts[f"notebooks/students/{name}"] = text
    return texts


def add_blanks(cells: list[NotebookNode]) -> list[NotebookNode]:
    """Return cells without outputs and with blanks, behind each of which its solution is folded.

    Raises:
        ValueError: if what is to be added finds no place.
    """
    _, *parts = re.split(r"<!-- before: (.*) -->\n", ADDED.read_text())
    added = dict(zip(parts[::2], parts[1::2], strict=True))  # by the first line of the next cell
    found = list[NotebookNode]()
    for old in cells:
        for cell in (*read_cells(added.pop(old.source.split("\n")[0], "")), old):
            found.append(cell)
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count, solution = [], None, cell.source
                if "derivation" in cell.metadata.tags and hide(solution) != solution:
                    cell.source = hide(solution)
                    found.append(new_markdown_cell(SOLUTION.format(solution)))
    if added:
        raise ValueError(f"{ADDED.name}: no cell begins with {', '.join(added)}")
    for number, cell in enumerate(found):
        cell.id = f"cell-{number}"
    return found


def read_cells(text: str) -> list[NotebookNode]:
    """Return Markdown as cells; code between fences has the tags that stand behind its language."""
    cells = list[NotebookNode]()
    for i, piece in enumerate(re.split(r"^```(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)):
        first, _, code = piece.partition("\n")
        if i % 2:
            cells.append(new_code_cell(code.strip(), metadata={"tags": first.split()[1:]}))
        elif piece.strip():
            cells.append(new_markdown_cell(piece.strip()))
    return cells


def hide(source: str) -> str:
    """Return code with blanks: what its hidden lines assign to, and an error that asks for them."""
    lines = list[str]()
    for hidden, group in groupby(source.split("\n"), lambda line: bool(HIDDEN.match(line))):
        run = list(group)
        if hidden:
            asked = f"write {len(run)} line{'s'[: len(run) - 1]} in place of this one"
            indent = run[0].removesuffix(run[0].lstrip())
            lines += [HINT.sub(r"\1# \2 = ...\3", line) for line in run if HINT.match(line)]
            lines.append(f'{indent}raise NotImplementedError("{asked}")')
        else:
            lines += run
    return "\n".join(lines)


def write_students() -> None:
    """Write the student versions over those in notebooks/students/."""
    for path, text in make_students().items():
        with atomic_write(ROOT / path) as file:
            file.write_text(text)


if __name__ == "__main__":
    write_students()
