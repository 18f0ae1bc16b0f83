"""The record of a run on disk, and all records of a folder as a table."""

import json
import threading
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from filelock import FileLock
from matplotlib.figure import Figure
from support import make, quiet, same_weights

from era8 import Recipe, Session8Net, fit, load_runs
from era8.disk import atomic_write
from era8.records import Record, load_run, load_weights, save_figures, save_run
from era8.tables import reaches_goal, summarise, write_tables


@pytest.fixture(scope="module")
def finished(data):
    model = make("gn")
    return fit(model, data, Recipe(epochs=2), quiet), model


def test_what_is_saved_is_read_back(tmp_path, finished):
    record, model = finished
    folder = save_run(tmp_path / "runs" / "gn", record, model)
    files = {"weights.pt", "history.csv", "record.json"}
    assert {path.name for path in folder.iterdir()} == files
    assert load_run(folder) == record
    torch.manual_seed(1)
    assert same_weights(model, load_weights(folder, Session8Net("gn")))


def test_validation_record_is_read_back(tmp_path, data):
    model = Session8Net("gn")
    record = fit(model, data.hold_out(50), Recipe(epochs=1), quiet)
    assert load_run(save_run(tmp_path / "held", record, model)) == record
    runs = load_runs(tmp_path)
    assert runs.val_accuracy.dtype == runs.test_accuracy.dtype == float
    table = summarise(runs)
    assert table["held-out accuracy"].item() == f"{100 * record.val_accuracy:.2f} %"
    assert "test accuracy" not in table and not reaches_goal(runs).any()
    assert summarise(runs.assign(data="cifar10")).conditions.item() == "not tested"
    save_run(tmp_path / "tested", fit(model, data, Recipe(epochs=1), quiet), model)
    both = summarise(load_runs(tmp_path))[["held-out accuracy", "test accuracy"]]
    assert (both == "").to_numpy().tolist() == [[False, True], [True, False]]


def test_record_is_plain_json(tmp_path, finished):
    record, model = finished
    text = (save_run(tmp_path, record, model) / "record.json").read_text()
    assert Record(**json.loads(text), history=record.history) == record
    assert len(text.splitlines()) < 140  # readable: a row of the confusion matrix to a line
    assert asdict(record)["data"] == "synthetic"


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


def test_load_runs_of_nothing(tmp_path):
    table = load_runs(tmp_path)
    assert table.empty and "test_accuracy" in table
    with pytest.raises(FileNotFoundError, match="the folder of runs .*nowhere' does not exist"):
        load_runs(tmp_path / "nowhere")


def test_a_linked_folder_counts_once(tmp_path, finished):
    (tmp_path / "runs").mkdir()
    for name in ("elsewhere", "runs/one"):
        save_run(tmp_path / name, *finished)
        (tmp_path / "runs" / f"link to {Path(name).name}").symlink_to(tmp_path / name)
    found = load_runs(tmp_path / "runs").folder.map(lambda path: Path(path).name)
    assert found.tolist() == ["link to elsewhere", "one"]


def test_tables_are_read_and_written_by_one_process_at_a_time(tmp_path):
    """Else one that has read before another run ended may write over the table that has it."""
    (tmp_path / ".runs.1.partial.csv").write_text("left by one that was killed")
    thread = threading.Thread(target=write_tables, args=[tmp_path])
    with FileLock(tmp_path / ".lock"):
        thread.start()
        thread.join(0.1)
        assert thread.is_alive() and not list(tmp_path.glob("runs.csv"))
    thread.join()
    assert {path.name for path in tmp_path.iterdir()} - {".lock"} == {"runs.csv", "epochs.csv"}


def test_a_full_disk_leaves_nothing_half_written_and_keeps_the_result_before(
    tmp_path, finished, full_disk
):
    record, model = finished
    save_run(tmp_path, record, model)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with full_disk:
        for folder in (tmp_path, tmp_path / "new"):
            with pytest.raises(OSError, match="No space left on device: .*weights.pt"):
                save_run(folder, replace(record, seed=1), Session8Net("gn"))
    assert list((tmp_path / "new").iterdir()) == [] and len(load_runs(tmp_path)) == 1
    (tmp_path / "new").rmdir()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_result_before_is_set_aside(tmp_path, finished):
    record, model = finished
    save_run(tmp_path, replace(record, seed=1), model)
    before = (tmp_path / "record.json").read_bytes()
    save_run(tmp_path, record, model)
    assert load_run(tmp_path) == record
    assert (tmp_path / "aside-0-record.json").read_bytes() == before


def test_figures_are_written_whole(tmp_path):
    save_figures(tmp_path, {"empty": Figure()})
    assert {path.name for path in tmp_path.iterdir()} - {".lock"} == {"empty.png"}


def test_an_atomic_write_keeps_the_old_file_when_it_fails(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as partial:
        partial.write_text("half of the n")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
