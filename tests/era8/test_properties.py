"""Whatever is given, a public function works or raises the error that it documents."""

import contextlib

import numpy as np
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from support import invoke

from era8 import Recipe, kernel, load_data, make_model, make_norm
from era8.device import choose_device
from era8.models import MODELS
from era8.notebooks import NOTEBOOKS, check_parameters
from era8.run import KINDS
from era8.sweep.grid import expand, read_grid, read_options

numbers = st.integers() | st.floats() | st.sampled_from([0, 1, -1, 2**63, 1e-320, True])
values = numbers | st.text(max_size=8) | st.none() | st.booleans() | st.just([]) | st.just({})
norms = st.sampled_from(["bn", "gn", "ln", "none"]) | values
words = st.text(max_size=8) | st.sampled_from(["true", "bn", "0..3", "-1", "nan", "1e-3", "--lr"])


def near(*good):
    """Values of which many are allowed, so that not all end at the first check."""
    return st.sampled_from(good) | values


recipes = st.fixed_dictionaries(
    {},
    optional={
        "epochs": near(1, 19, 20), "seed": near(0, 5), "batch_size": near(1, 64),
        "lr": near(0.1, 1), "momentum": near(0.9), "weight_decay": near(0, 1e-4),
        "optimizer": near("muon", "sgd"),
        "warmup": near(0.1, 0.99), "max_shift": near(0, 4), "flip": near(True, False),
        "low_res_epochs": near(0, 1),
        "precision": near("bf16", "auto"), "limits": near(True, False),
    },
)  # fmt: skip


@settings(max_examples=600)
@given(recipes)
def test_recipe(given):
    with contextlib.suppress(ValueError):
        recipe = Recipe(**given)
        wanted = {name: value for name, value in given.items() if value is not None}
        assert all(getattr(recipe, name) == value for name, value in wanted.items())
        assert set(given) - set(wanted) <= {"lr", "weight_decay"}  # the optimizer's own


@settings(max_examples=300)
@given(norms, st.integers(1, 64), values | st.integers(1, 8))
def test_make_norm(kind, channels, groups):
    with contextlib.suppress(ValueError):
        x = torch.randn(2, channels, 4, 4)
        assert make_norm(kind, channels, groups)(x).shape == x.shape


@settings(max_examples=200)
@given(near(*MODELS), norms, values, values | st.sampled_from([1, 2, 4, 8, 16]))
def test_network(name, norm, skip, groups):
    with contextlib.suppress(ValueError):
        model = make_model(name, norm, skip, groups)
        assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


@settings(max_examples=400)
@given(st.dictionaries(st.sampled_from(list(KINDS)) | st.text(max_size=5), values, max_size=4))
def test_grid(axes):
    with contextlib.suppress(ValueError):
        cells = expand([axes])
        assert len({cell.name for cell in cells}) == len(cells) >= 1


@settings(max_examples=200)
@given(st.sampled_from(list(KINDS)), values | words | st.sampled_from([10**400, np.int64(2)]))
def test_a_parameter_is_the_same_in_every_way(tmp_path, name, value):
    """By the terminal, a file, papermill and Python: it is taken, or refused in one sentence."""

    def take(read):
        try:
            return read()
        except ValueError as error:
            assert len(str(error)) < 300 and "\n" not in str(error)
            return None

    def papermill():
        parameters = check_parameters("gn", {}) | {name: text}
        kernel.start("gn", parameters)
        return [parameters[name]]

    text, path = "?" if value == 10**400 else str(value), tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump({name: text, "norm": "gn"} | {name: text}), encoding="utf-8")
    take(lambda: expand([{name: value}]))
    terminal = take(lambda: expand([read_options(["--norm=gn", f"--{name}={text}"])]))
    file = take(lambda: expand(read_grid(path)))
    assert terminal == file or name == "norm" or not text
    if name in check_parameters("gn", {}) and ".." not in text and text:
        there = take(papermill)
        assert there == (terminal and [cell.settings[name] for cell in terminal])


@settings(max_examples=300)
@given(st.lists(words | st.sampled_from([f"--{name}" for name in KINDS]), max_size=6))
def test_words_of_a_grid(words):
    with contextlib.suppress(ValueError):
        assert expand([read_options(words)])


@settings(max_examples=200)
@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_file_of_a_grid(tmp_path, content):
    (tmp_path / "grid.yaml").write_bytes(content)
    with contextlib.suppress(ValueError):
        assert read_grid(tmp_path / "grid.yaml")


@settings(max_examples=150)
@given(st.text(max_size=10) | st.sampled_from(["cpu", "cuda:99", "meta", "auto", "cpu:0"]))
def test_device(name):
    with contextlib.suppress(ValueError):
        assert isinstance(choose_device(name), torch.device)


@settings(max_examples=100)
@given(st.sampled_from(list(NOTEBOOKS)), st.sampled_from(["epochs", "lr", "skip", "x"]), values)
def test_parameters_of_a_notebook(norm, name, value):
    with contextlib.suppress(ValueError):
        assert check_parameters(norm, {name: value})[name] == value or isinstance(value, str)


@settings(max_examples=100)
@given(near(10, 300), near(0, 5))
def test_parts_of_the_data(train_images, val_images):
    with contextlib.suppress(ValueError):
        count = min(train_images, 400) if isinstance(train_images, int) else train_images
        data = load_data("synthetic", "cpu", count).hold_out(val_images)
        assert len(data.train) + len(data.val or ()) == count


@settings(max_examples=200)
@given(st.sampled_from(["run", "sweep"]), st.lists(words, max_size=4))
def test_commands(tmp_path_factory, command, words):
    """Each names a folder of data that is not there, so none trains."""
    folder = tmp_path_factory.getbasetemp() / "commands"
    nowhere = ["--data", str(folder / "no")]
    out = ["--out", str(folder / "out")]
    result = invoke(command, *nowhere, *out, *words)
    assert result.exit_code in (0, 1, 2), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.exit_code or "Usage" in result.output
    assert not folder.exists()
