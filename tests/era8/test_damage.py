"""A file that is damaged is named, never taken for what it was, and never deleted."""

import hashlib
import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import edit_record, make, quiet, stop_after

from era8 import Recipe, Session8Net, fit, fit_in
from era8.checkpoint import SEAL, Checkpoint
from era8.disk import CHECKPOINT
from era8.records import load_run, load_weights, save_run
from era8.tables import load_epochs, load_runs


@pytest.fixture(scope="module")
def run(tmp_path_factory, data):
    """The files of a run by their names, with the checkpoint of its first two epochs."""
    folder, few = tmp_path_factory.mktemp("run"), data.take(60)
    path, recipe = folder / CHECKPOINT, Recipe(epochs=3, batch_size=20)
    with pytest.raises(KeyboardInterrupt):
        fit(make(), few, recipe, stop_after(2), path)
    checkpoint, model = path.read_bytes(), make()
    save_run(folder, fit(model, few, recipe, quiet, path), model)
    path.write_bytes(checkpoint)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path, run):
    """A folder with all files of the run."""
    for name, content in run.items():
        (tmp_path / "run" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "run" / name).write_bytes(content)
    return tmp_path / "run"


def resume(data, path):
    fit(make(), data.take(60), Recipe(epochs=3, batch_size=20), quiet, path)


@settings(max_examples=200)
@given(
    st.sampled_from(["history.csv", "weights.pt", CHECKPOINT]),
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 255),
)
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
            if name == CHECKPOINT:
                Checkpoint(tmp_path / name, {}, {}, []).load()
            load_run(tmp_path)


@settings(max_examples=150)
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_files_that_hold_anything_else(tmp_path, record, other):
    (tmp_path / "record.json").write_bytes(record)
    for name in ("history.csv", "weights.pt", CHECKPOINT):
        (tmp_path / name).write_bytes(other)
    with pytest.raises(ValueError):
        load_run(tmp_path)
    with pytest.raises(ValueError):
        load_weights(tmp_path, Session8Net())
    with pytest.raises(ValueError, match="checkpoint is damaged"):
        Checkpoint(tmp_path / CHECKPOINT, {}, {}, []).load()
    for load in (load_runs, load_epochs):
        with pytest.warns(UserWarning, match="left out"):
            assert load(tmp_path).empty


@pytest.mark.parametrize("damage", ["{", "[]", '{"norm": "bn"}', "", "[" * 100_000])
def test_a_damaged_record_is_named_and_left_out(folder, damage):
    other = folder.parent / "bad"
    other.mkdir()
    (other / "record.json").write_text(damage)
    with pytest.warns(UserWarning, match="left out: .*bad holds no readable record"):
        table = load_runs(folder.parent)
    assert table.folder.tolist() == [str(folder)]
    assert (other / "record.json").read_text() == damage


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("test_accuracy", 1.7, "test_accuracy is 1.7, .* in the history, and .* of 60 in the conf"),
        ("test_accuracy", float("nan"), "test_accuracy is nan, .* in the history, and"),
        ("test_accuracy", None, "val_accuracy and test_accuracy are both None"),
        ("confusion", [], "and 0 of 0 in the confusion matrix"),
        ("train_seconds", float("nan"), "train_seconds is nan"),
        ("train_accuracy", 10**400, "train_accuracy is 1000"),
        ("epochs", 4, "the history must have the epochs 1 to 4"),
        ("epochs", 10**30, "the history must have the epochs 1 to 1000"),
        ("seed", True, "seed is True"),
        ("lr", "0.05", "lr is '0.05'"),
        ("norm", 3, "norm"),
        ("versions", None, "versions"),
        ("history", [], "history"),
        ("x", 1, "'x'"),
    ],
)
def test_a_record_is_held_to_its_types_its_history_and_its_matrix(folder, name, value, message):
    """Also one of before there were checksums."""
    edit_record(folder, **{name: value, "sha256": {}})
    with pytest.raises(ValueError, match=f"holds no readable record of a run: .*{message}"):
        load_run(folder)


def test_a_history_that_misses_epochs_is_named(folder):
    path = folder / "history.csv"
    before, named = path.read_text().splitlines(keepends=True), (folder / "record.json").read_text()
    for rows in (before[:-1], [before[0], *before[:0:-1]]):  # a row less, and in another order
        path.write_text("".join(rows))
        with pytest.raises(ValueError, match="history.csv is not the file that record.json names"):
            load_run(folder)
        edit_record(folder, sha256={})
        with pytest.raises(ValueError, match="the history must have the epochs 1 to 3"):
            load_run(folder)
        (folder / "record.json").write_text(named)


def test_a_record_that_may_not_be_read_is_no_damaged_one(folder):
    (folder / "record.json").unlink()
    (folder / "record.json").mkdir()  # as good as a lack of rights, also for root
    with pytest.raises(IsADirectoryError):
        load_run(folder)
    with pytest.warns(UserWarning, match="left out: .*Is a directory"):
        assert load_runs(folder).empty


@pytest.mark.parametrize("name", ["record.json", "history.csv", "weights.pt"])
def test_a_damaged_result_is_set_aside_and_trained_again(data, tmp_path, name):
    record, folder = fit_in(tmp_path, make(), data, Recipe(epochs=1), quiet)
    (folder / name).write_bytes((folder / name).read_bytes()[:-5] + b"12345")
    lines = []
    again, _ = fit_in(tmp_path, make(), data, Recipe(epochs=1), lines.append)
    assert "renamed to aside-0-record.json; starting anew" in lines[0]
    assert (again.train_loss, again.confusion) == (record.train_loss, record.confusion)
    assert (folder / f"aside-0-{name}").exists() and load_runs(tmp_path).shape[0] == 1


def test_a_damaged_checkpoint_is_named_and_kept(data, folder):
    path = folder / CHECKPOINT
    path.write_bytes(path.read_bytes()[:5_000])
    message = "damaged: .* is not as it was written; delete it to start the run anew"
    with pytest.raises(ValueError, match=message):
        resume(data, path)
    assert path.exists()


def write(path, state):
    """Write a checkpoint that is sealed as it should be."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path.write_bytes(hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())


@pytest.mark.parametrize("change", ["parts", "model", "shape", "history"])
def test_a_checkpoint_whose_parts_do_not_fit_is_named(data, folder, change):
    path = folder / CHECKPOINT
    state = torch.load(io.BytesIO(path.read_bytes()[SEAL:]))
    if change == "shape":
        state["parts"]["model"]["C1.0.weight"] = torch.zeros(2, 2)
    else:
        del (state["parts"] if change == "model" else state)[change]
    write(path, state)
    with pytest.raises(ValueError, match="checkpoint.pt does not fit this run: .*; delete it"):
        resume(data, path)


def test_loading_never_executes_code(data, tmp_path):
    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "executed"), "w")

    write(tmp_path / CHECKPOINT, {"run": Evil()})
    with pytest.raises(ValueError, match="checkpoint is damaged"):
        resume(data, tmp_path / CHECKPOINT)
    assert not (tmp_path / "executed").exists()
