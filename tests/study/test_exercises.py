"""Each exercise of the notebooks, in a small setting: it runs, and ends as its answer says."""

import math
import re

import nbformat
import pytest
import torch

from era8 import Recipe, evaluate, fit, load_data, load_pretrained, make_model, make_norm
from era8.data import normalise
from era8.notebooks import check_parameters, find_notebook
from era8.recipe import OPTIMIZERS
from study.teaching import read_answers


@pytest.fixture(scope="module")
def pictures():
    """600 generated ones to train on."""
    return load_data("synthetic", "cpu", 600)


def train(norm, number, pictures):
    """Train as an exercise says and as its baseline, on the pictures; return models and records.

    The first value of a parameter in its text is the exercise's, the last one the baseline's.
    """
    text = nbformat.read(find_notebook(norm), as_version=4).cells[-1].source
    said = re.split(r"^\d\. ", text.split("<details>")[0], flags=re.MULTILINE)[number]
    pairs = [pair.split(" = ") for pair in re.findall(r"`(\w+ = [\w.]+)`", said)]
    found = []
    for values in (dict(reversed(pairs)), dict(pairs)):
        asked = check_parameters(norm, values)
        assert not asked["compare_skip"] and asked["train_images"] <= 50_000
        recipe = {name: asked[name] for name in ("epochs", "batch_size", "lr", "max_shift", "seed")}
        torch.manual_seed(asked["seed"])
        model = make_model("session8", norm, asked["skip"], asked.get("groups", 1))
        record = fit(model, pictures, Recipe(**recipe), log=lambda line: None)
        found.append((model, record))
    return found


def read_losses(record):
    return [(row["train_loss"], row["test_loss"]) for row in record.history]


@pytest.mark.parametrize(("norm", "number", "batch"), [("bn", 1, 4), ("ln", 2, 512)])
def test_another_batch_has_the_rate_that_its_size_asks_for(norm, number, batch, pictures):
    (_, small), (_, usual) = train(norm, number, pictures)
    assert (small.batch_size, usual.batch_size, usual.lr) == (batch, 128, OPTIMIZERS["muon"]["lr"])
    assert small.lr == pytest.approx(usual.lr * math.sqrt(batch / 128), rel=1e-3)
    assert read_losses(small) != read_losses(usual)


def test_a_group_for_each_channel_is_chance_but_for_the_skips(pictures):
    images = normalise(pictures.test.images)
    for number, few in ((1, True), (2, False)):
        (alone, _), (pairs, record) = train("gn", number, pictures)
        logits = alone.eval()(images)
        assert (logits.std(0).max() < 1e-4) == few
        assert pairs.groups == 2 and pairs.eval()(images).std(0).max() > 0.1


def test_one_group_is_the_other_notebook_to_the_last_digit(pictures):
    (_, one), _ = train("gn", 3, pictures)
    torch.manual_seed(0)
    recipe = Recipe(epochs=one.epochs)
    other = fit(make_model("session8", "ln"), pictures, recipe, log=lambda line: None)
    assert (one.groups, read_losses(one)) == (1, read_losses(other))


def test_without_skips_the_number_moves(pictures):
    (without, one), (usual, other) = train("ln", 3, pictures)
    assert (without.skip, usual.skip) == (False, True)
    assert read_losses(one) != read_losses(other)


@pytest.mark.parametrize("norm", ["bn", "gn", "ln"])
def test_answers_with_code_run_behind_a_notebook_and_change_no_network(norm, pictures, capsys):
    network = load_pretrained("session8", norm)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    names = {"data": pictures, "network": network, "evaluate": evaluate, "torch": torch}
    names |= {"normalise": normalise}
    for code in read_answers("bn"):
        exec(code, names)
    torch.testing.assert_close(dict(network.state_dict()), before)
    assert re.fullmatch(r"in pairs: [\d.]+%\nfaded: [\d.]+%\n", capsys.readouterr().out)
    usual = evaluate.predict(network, pictures.test)
    in_pairs, faded = ((names[name] - usual).std() / usual.std() for name in ("logits", "answers"))
    assert (in_pairs > 0.5) == (faded > 0.5) == (norm == "bn")


def test_a_loud_channel_drowns_the_others_with_layer_norm_alone(capsys):
    for code in read_answers("ln"):
        exec(code, {"torch": torch, "make_norm": make_norm})
    ln, bn = map(float, re.findall(r"deviation of ([\d.]+)", capsys.readouterr().out))
    assert ln < 0.1 and bn == pytest.approx(1, abs=0.01)
