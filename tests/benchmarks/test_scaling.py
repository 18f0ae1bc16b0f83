import json

import pytest

from benchmarks import scaling_report as scaling
from benchmarks.scaling import measure
from era8.sweep.local import sweep
from study import __main__ as report
from study import readme


@pytest.fixture(scope="module")
def records():
    return list(report.load_reference(readme.ROOT / "results").values())


def write(path, **changes):
    path.write_text(json.dumps(json.loads(scaling.RESULTS.read_text()) | changes))
    return path


def test_workers_share_the_time_until_the_gathering_process_is_busy():
    measured = {"ray_seconds": 2.0, "driver_seconds": 0.1}
    seconds = [scaling.sweep_seconds(workers, 98.0, measured) for workers in (1, 10, 1_000, 10_000)]
    assert seconds == [1_000_000, 100_000, 1_000, 1_000]


def test_every_number_is_one_that_was_measured(tmp_path, records):
    before = scaling.render(records)
    numbers = [
        n for n in json.loads(scaling.RESULTS.read_text()) if n.endswith(("seconds", "bytes"))
    ]
    for name in numbers:
        assert scaling.render(records, write(tmp_path / f"{name}.json", **{name: 1e6})) != before


def test_what_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.scaling.CELLS", 2)
    monkeypatch.setattr("benchmarks.scaling.IMAGES", 200)

    def one_after_another(cells, place, cpus, log):  # Ray itself is tried in test_cluster
        return sweep(cells, place, log=log)

    monkeypatch.setattr("benchmarks.scaling.sweep_cluster", one_after_another)
    measured = measure(tmp_path, "synthetic")
    assert json.loads(scaling.RESULTS.read_text()).keys() == measured.keys()
    numbers = {name: n for name, n in measured.items() if name not in ("device", "versions")}
    assert all(n > 0 for n in numbers.values())
    assert measured["driver_seconds"] < measured["local_seconds"]
