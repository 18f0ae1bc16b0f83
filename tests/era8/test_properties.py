"""Whatever is given, a public function works or raises the error that it documents."""

import contextlib

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from era8 import Recipe, Session8Net, fit, kernel, load_data, make_model, make_norm
from era8.__main__ import main
from era8.checkpoint import Checkpoint
from era8.device import choose_device
from era8.models import MODELS
from era8.notebooks import NOTEBOOKS, check_parameters
from era8.records import load_run, load_weights, save_run
from era8.run import KINDS
from era8.sweep.grid import expand, read_grid, read_options
from era8.tables import load_epochs, load_runs

# Together they try more than 2,000 inputs. The same ones each time: a test is no lottery.
settings.register_profile(
    "era8", derandomize=True, deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
settings.load_profile("era8")

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


@pytest.fixture(scope="module")
def run(tmp_path_factory, data):
    """A folder with all files of a run, finished and not."""
    folder, model = tmp_path_factory.mktemp("run"), Session8Net()
    recipe = Recipe(epochs=1, batch_size=50)
    record = fit(model, data.take(50), recipe, lambda line: None, folder / "checkpoint.pt")
    checkpoint = (folder / "checkpoint.pt").read_bytes()
    save_run(folder, record, model)
    (folder / "checkpoint.pt").write_bytes(checkpoint)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


FILES = ["history.csv", "weights.pt", "checkpoint.pt"]


@settings(max_examples=200)
@given(st.sampled_from(FILES), st.floats(0, 1, exclude_max=True), st.integers(0, 255))
def test_a_byte_that_is_changed_or_cut_off_is_noticed(tmp_path, run, name, share, byte):
    for file, content in run.items():
        (tmp_path / file).write_bytes(content)
    load_run(tmp_path)
    before = run[name]
    i = int(share * len(before))
    changed = before[:i] + bytes([byte]) * (byte != before[i]) + before[i + 1 :]
    for content in (changed, before[:i]):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match="damaged|readable"):
            if name == "checkpoint.pt":
                Checkpoint(tmp_path / name, {}, {}, []).load()
            load_run(tmp_path)


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


@settings(max_examples=150)
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_files_of_a_run(tmp_path, record, other):
    (tmp_path / "record.json").write_bytes(record)
    (tmp_path / "history.csv").write_bytes(other)
    (tmp_path / "weights.pt").write_bytes(other)
    with pytest.raises(ValueError):
        load_run(tmp_path)
    with pytest.raises(ValueError):
        load_weights(tmp_path, Session8Net())
    with pytest.warns(UserWarning, match="left out"):
        assert load_runs(tmp_path).empty
    with pytest.warns(UserWarning, match="left out"):
        assert load_epochs(tmp_path).empty


@settings(max_examples=100)
@given(st.binary(max_size=100))
def test_file_of_a_checkpoint(tmp_path, content):
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(ValueError, match="checkpoint is damaged"):
        Checkpoint(tmp_path / "checkpoint.pt", {}, {}, []).load()


@settings(max_examples=200)
@given(st.sampled_from(["run", "sweep"]), st.lists(words, max_size=4))
def test_commands(tmp_path_factory, command, words):
    """Each names a folder of data that is not there, so none trains."""
    folder = tmp_path_factory.getbasetemp() / "commands"
    nowhere = ["--data", str(folder / "no")]
    out = ["--out", str(folder / "out")]
    result = CliRunner().invoke(main, [command, *nowhere, *out, *words])
    assert result.exit_code in (0, 1, 2), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.exit_code or "Usage" in result.output
    assert not folder.exists()
