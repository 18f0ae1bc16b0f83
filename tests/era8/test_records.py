import errno
import json
import os
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from era8 import Recipe, Session8Net, fit, load_runs
from era8.records import Record, atomic_write, load_run, load_weights, save_figures, save_run


@pytest.fixture(scope="module")
def finished(data):
    torch.manual_seed(0)
    model = Session8Net("gn")
    return fit(model, data, Recipe(epochs=2), log=lambda line: None), model


def edit(folder, **values):
    """Change a record as if it were an older one, which names no checksums."""
    path = folder / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sha256": {}} | values))


def test_what_is_saved_is_read_back(tmp_path, finished):
    record, model = finished
    folder = save_run(tmp_path / "runs" / "gn", record, model)
    files = {"weights.pt", "history.csv", "record.json"}
    assert {path.name for path in folder.iterdir()} == files
    assert load_run(folder) == record
    torch.manual_seed(1)
    other = load_weights(folder, Session8Net("gn"))
    pairs = zip(model.state_dict().values(), other.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_validation_record_is_read_back(tmp_path, finished, data):
    model = Session8Net("gn")
    record = fit(model, data.hold_out(50), Recipe(epochs=1), log=lambda line: None)
    assert load_run(save_run(tmp_path, record, model)) == record


def test_records_of_before_some_fields_were_kept_are_read(tmp_path, finished):
    record, model = finished
    path = save_run(tmp_path, record, model) / "record.json"
    kept = json.loads(path.read_text())
    assert 0 < kept.pop("train_accuracy_eval") < 1 and kept.pop("init") == "torch"
    assert set(kept.pop("fingerprints")) == {"initialisation", "images", "code"}
    assert set(kept.pop("sha256")) == {"weights.pt", "history.csv"}
    assert kept.pop("low_res_epochs") == kept.pop("val_images") == 0 and kept.pop("limits")
    kept |= {"model": "Session8Net", "crop": kept.pop("max_shift")}
    path.write_text(json.dumps(kept))
    table = pd.read_csv(tmp_path / "history.csv")
    table.drop(columns=["test_loss", "test_accuracy"]).to_csv(tmp_path / "history.csv", index=False)
    older = load_run(tmp_path)
    assert (older.train_accuracy_eval, older.init, older.low_res_epochs) == (None, "torch", 0)
    assert (older.model, older.max_shift, older.train_images) == ("session8", 2, 300)
    assert older.test_accuracy == record.test_accuracy and "test_loss" not in older.history[0]
    for name in kept:
        path.write_text(json.dumps({n: value for n, value in kept.items() if n != name}))
        name = {"crop": "max_shift"}.get(name, name)
        with pytest.raises(ValueError, match=f"holds no readable record of a run: .*'{name}'"):
            load_run(tmp_path)


def test_load_runs_has_a_row_for_each_run(tmp_path, finished):
    record, model = finished
    for seed in range(3):
        save_run(tmp_path / f"seed-{seed}", replace(record, seed=seed), model)
    table = load_runs(tmp_path)
    assert table.seed.tolist() == [0, 1, 2]
    assert table.folder.tolist() == [str(tmp_path / f"seed-{seed}") for seed in range(3)]
    wanted = "model norm skip groups seed epochs batch_size lr train_images n_parameters"
    wanted += " train_accuracy test_accuracy train_seconds device precision torch commit"
    assert set(wanted.split()) <= set(table) and "files" not in table
    assert table.test_accuracy.between(0, 1).all()


def test_load_runs_of_an_empty_folder(tmp_path):
    table = load_runs(tmp_path)
    assert table.empty and "test_accuracy" in table


def test_load_runs_of_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="the folder of runs .*nowhere' does not exist"):
        load_runs(tmp_path / "nowhere")


@pytest.mark.parametrize("damage", ["{", "[]", '{"norm": "bn"}', "", "[" * 100_000])
def test_damaged_record_is_named_and_left_out(tmp_path, finished, damage):
    record, model = finished
    save_run(tmp_path / "good", record, model)
    path = save_run(tmp_path / "bad", record, model) / "record.json"
    path.write_text(damage)
    with pytest.warns(UserWarning, match="left out: .*bad holds no readable record"):
        table = load_runs(tmp_path)
    assert table.folder.tolist() == [str(tmp_path / "good")]
    assert path.read_text() == damage


@pytest.mark.parametrize(
    ("name", "value"), [("versions", None), ("norm", 3), ("lr", "0.1"), ("history", []), ("x", 1)]
)
def test_a_record_with_a_wrong_value_is_named_and_left_out(tmp_path, finished, name, value):
    edit(save_run(tmp_path, *finished), **{name: value})
    with pytest.warns(UserWarning, match="left out: .*holds no readable record"):
        assert load_runs(tmp_path).empty


def test_a_linked_folder_counts_once(tmp_path, finished):
    (tmp_path / "runs").mkdir()
    for name in ("elsewhere", "runs/one"):
        save_run(tmp_path / name, *finished)
        (tmp_path / "runs" / f"link to {Path(name).name}").symlink_to(tmp_path / name)
    found = load_runs(tmp_path / "runs").folder.map(lambda path: Path(path).name)
    assert found.tolist() == ["link to elsewhere", "one"]


def test_a_history_that_misses_epochs_is_named(tmp_path, finished):
    path = save_run(tmp_path, *finished) / "history.csv"
    before, record = path.read_text().splitlines(keepends=True), tmp_path / "record.json"
    text = record.read_text()
    kept = json.loads(text)
    for rows in (before[:-1], [before[0], *before[:0:-1]]):  # a row less, and in another order
        path.write_text("".join(rows))
        with pytest.raises(ValueError, match="history.csv is not the file that record.json names"):
            load_run(tmp_path)
        record.write_text(
            json.dumps({n: v for n, v in kept.items() if n != "sha256"} | {"sha256": {}})
        )
        with pytest.raises(ValueError, match="the history must have the epochs 1 to 2"):
            load_run(tmp_path)
        record.write_text(text)


def test_a_result_that_is_not_finite_is_no_result(tmp_path, finished):
    edit(save_run(tmp_path, *finished), test_accuracy=float("nan"))
    with pytest.raises(ValueError, match="test_accuracy is nan, .* in the history, and"):
        load_run(tmp_path)


def test_a_record_that_may_not_be_read_is_no_damaged_one(tmp_path, finished):
    (save_run(tmp_path, *finished) / "record.json").unlink()
    (tmp_path / "record.json").mkdir()  # as good as a lack of rights, also for root
    with pytest.raises(IsADirectoryError):
        load_run(tmp_path)
    with pytest.warns(UserWarning, match="left out: .*Is a directory"):
        assert load_runs(tmp_path).empty


def test_a_full_disk_leaves_no_record_and_nothing_half_written(tmp_path, finished, monkeypatch):
    record, model = finished

    def full(self, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device: .*weights.pt"):
        save_run(tmp_path / "run", record, model)
    assert list((tmp_path / "run").iterdir()) == [] and load_runs(tmp_path).empty


def test_a_full_disk_keeps_the_result_before(tmp_path, finished, monkeypatch):
    record, model = finished
    save_run(tmp_path, record, model)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(self, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device"):
        save_run(tmp_path, replace(record, seed=1), Session8Net("gn"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_result_before_is_set_aside(tmp_path, finished):
    record, model = finished
    save_run(tmp_path, replace(record, seed=1), model)
    before = (tmp_path / "record.json").read_bytes()
    save_run(tmp_path, record, model)
    assert load_run(tmp_path) == record
    assert (tmp_path / "aside-0-record.json").read_bytes() == before


def test_folder_that_cannot_be_made(tmp_path, finished):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ValueError, match="folder must be a folder that is there or can be made"):
        save_run(tmp_path / "file" / "run", *finished)


def test_figures_are_written_whole(tmp_path):
    save_figures(tmp_path, {"empty": Figure()})
    assert {path.name for path in tmp_path.iterdir()} - {".lock"} == {"empty.png"}


def test_whole_keeps_the_old_file_when_writing_fails(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as partial:
        partial.write_text("half of the n")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_record_is_plain_json(tmp_path, finished):
    record, model = finished
    text = (save_run(tmp_path, record, model) / "record.json").read_text()
    assert Record(**json.loads(text), history=record.history) == record
    assert len(text.splitlines()) < 140  # readable: a row of the confusion matrix to a line
    assert asdict(record)["data"] == "synthetic"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("test_accuracy", 1.7, "test_accuracy is 1.7, .* in the history, and .* of 60 in the conf"),
        ("seed", True, "seed is True"),
        ("confusion", [], "and 0 of 0 in the confusion matrix"),
        ("test_accuracy", None, "val_accuracy and test_accuracy are both None"),
        ("train_seconds", float("nan"), "train_seconds is nan"),
        ("train_accuracy", 10**400, "train_accuracy is 1000"),
        ("epochs", 3, "the history must have the epochs 1 to 3"),
        ("epochs", 10**30, "the history must have the epochs 1 to 1000"),
        ("lr", "0.05", "lr is '0.05'"),
    ],
)
def test_a_record_is_held_to_its_history_and_its_confusion_matrix(
    tmp_path, finished, name, value, message
):
    """Also one of before there were checksums."""
    edit(save_run(tmp_path, *finished), **{name: value, "sha256": {}})
    with pytest.raises(ValueError, match=f"holds no readable record of a run: .*{message}"):
        load_run(tmp_path)
