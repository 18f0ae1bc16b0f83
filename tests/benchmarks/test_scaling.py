from unittest.mock import create_autospec

import pytest

from benchmarks import report, scaling
from era8.disk import claim
from era8.records import save_run
from era8.sweep.work import train_apart

MEASURED = report.load_scaling()


@pytest.fixture
def in_this_process(data, monkeypatch):
    """The sweeps without their processes, and little data: each is tried in its own tests."""
    few = data.take(200)
    monkeypatch.setattr(scaling, "RUNS", 2)
    monkeypatch.setattr(scaling, "IMAGES", 200)
    monkeypatch.setattr(scaling, "load_data", lambda data_dir, device: few)

    def one_after_another(cells, place, log, **options):
        for cell in cells:
            with claim(place.folder(cell)) as folder:
                save_run(folder, *train_apart(cell, few, lambda line, cell=cell: log(cell, line)))
            log(cell, "")
        return {}

    for name in ("sweep", "sweep_cluster"):
        fake = create_autospec(getattr(scaling, name), side_effect=one_after_another)
        monkeypatch.setattr(scaling, name, fake)


def test_what_is_measured(tmp_path, in_this_process):
    measured = scaling.measure(tmp_path)
    assert MEASURED.keys() == measured.keys()
    numbers = {name: n for name, n in measured.items() if name not in ("device", "versions")}
    assert all(n > 0 for n in numbers.values())
    assert measured["driver_seconds"] < measured["local_seconds"]
    assert scaling.sweep_cluster.call_args.kwargs["cpus"] >= 1


def test_a_sweep_that_fails_is_no_measurement(tmp_path, in_this_process):
    scaling.sweep.side_effect = lambda cells, place, log: {"a cell": "it failed"}
    with pytest.raises(AssertionError, match="it failed"):
        scaling.measure(tmp_path)
