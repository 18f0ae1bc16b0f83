"""The lesson: its numbers."""

import pandas as pd
import pytest

from era8 import Recipe
from era8.recipe import FAST
from study import teaching


def test_the_parameters_of_the_lesson_are_those_of_the_short_runs():
    assert Recipe(**teaching.list_changes()) == FAST


def test_share_of_pairs_in_which_one_side_is_ahead():
    runs = pd.DataFrame({"norm": ["bn", "bn", "gn", "gn"], "test_accuracy": [0.8, 0.6, 0.7, 0.6]})
    assert teaching.share_ahead(runs, "norm", "bn", "gn") == (2 + 0.5) / 4
    assert teaching.share_ahead(runs, "norm", "gn", "bn") == (1 + 0.5) / 4


def test_deviation_is_that_of_seeds_alone():
    runs = pd.DataFrame({"norm": list("aabb"), "skip": True, "test_accuracy": [0.1, 0.3, 0.7, 0.9]})
    assert teaching.deviation(runs) == pytest.approx(0.2 / 2**0.5)


def test_seeds_that_it_takes_to_see_a_difference():
    """Of one standard deviation: the textbooks' 17 on each side."""
    assert teaching.count_seeds(0.01, 0.01) == 17
