"""The student versions: made by a command, solved by their own solutions, and by no others."""

import re
from itertools import pairwise

import nbformat
import pytest

from era8.notebooks import NOTEBOOKS
from study.runs import ROOT
from study.students import make_students

SMALL = {"data_dir": "synthetic", "train_images": 200, "epochs": 1, "compare_skip": False}
WRONG = {"correction=0": "correction=1", "0.1 * mean": "0.9 * mean", "zero_grad()": "step()",
         "weight *= 10": "weight *= 9"}  # fmt: skip


class Student:
    """Someone who runs a student version from its top, in a small setting, and fills its blanks."""

    def __init__(self, norm, folder):
        text = make_students()[f"notebooks/students/{NOTEBOOKS[norm]}"]
        self.names = {"__name__": "__main__"}
        self.cells, self.blanks = [], {}
        for cell, below in pairwise(nbformat.reads(text, as_version=4).cells):
            source = re.sub("%pip.*", "pass", cell.source)
            if "parameters" in cell.metadata.get("tags", []):
                small = SMALL | {"device": "cpu", "out_dir": str(folder)}
                source += "".join(f"\n{name} = {value!r}" for name, value in small.items())
            if solution := re.search(r">Solution<.*```python\n(.*?)\n```", below.source, re.S):
                self.blanks[len(self.cells)] = source
                source = solution[1]
            self.cells += [source] if cell.cell_type == "code" else []

    def run(self, *sources):
        """Run cells, one after the other."""
        for source in sources:
            exec(source, self.names)


@pytest.fixture(scope="module", params=NOTEBOOKS)
def student(request, tmp_path_factory):
    """One who has filled in all solutions, and run all cells."""
    student = Student(request.param, tmp_path_factory.mktemp("runs"))
    student.run(*student.cells)
    return student


def test_those_of_the_repository_are_what_the_command_makes():
    for path, text in make_students().items():
        assert (ROOT / path).read_text() == text, f"{path}: run python -m study.students"


def test_a_blank_that_is_not_filled_asks_for_it_in_one_sentence(student):
    assert len(student.blanks) == 3 + (student.names["norm"] == "bn")
    for blank in student.blanks.values():
        with pytest.raises(NotImplementedError, match=r"^write \d lines in place of this one$"):
            student.run(blank)


def test_the_graders_find_what_is_wrong(student):
    """A solution in which one thing is another, and the cell behind it."""
    for place in student.blanks:
        solution, below = student.cells[place : place + 2]
        [wrong] = [solution.replace(*pair) for pair in WRONG.items() if pair[0] in solution]
        with pytest.raises(AssertionError, match="Tensor-likes are not close"):
            student.run(wrong, below)
        student.run(solution, below)
