"""What the benchmark measures: one thing after another, each kept as soon as it is finished."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from era8.recipe import ACCURACY_GOAL
from era8.records import whole
from era8.tables import percent

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "benchmark.json"

Job = dict[str, Any]  # what to measure, as benchmarks/measure.py reads it
Row = dict[str, Any]  # a job, and what was measured


class Results:
    """What has been measured so far, kept in a hidden file beside the one that it will become."""

    def __init__(
        self, out: Path, facts: dict[str, Any], place: dict[str, str], log: Callable[[str], Any]
    ) -> None:
        """Go on with the hidden file, if it states the same facts of machine and versions."""
        self.out, self.place, self.log = out, place, log
        self.kept = out.with_name(f".{out.stem}.partial{out.suffix}")
        self.rows: list[Row] = []
        self.before: list[Row] = []
        self.facts = facts | {"started": datetime.now(UTC).isoformat(timespec="seconds")}
        if self.kept.exists():
            kept = json.loads(self.kept.read_text())
            measurements = kept.pop("measurements")
            if facts.items() <= kept.items():
                self.facts, self.before = kept, measurements
                log(f"going on with {self.kept}; delete it to begin anew")

    def measure(self, job: Job) -> Row:
        """Return a job with what is measured for it, or was measured before."""
        row = next((row for row in self.before if job.items() <= row.items()), None)
        if row:
            self.before.remove(row)
        else:
            row = job | measure_apart(job | self.place)
            self.log(describe(row))
        self.rows.append(row)
        self._write(self.kept, self.rows + self.before)
        return row

    def finish(self) -> None:
        """Write the file that was asked for, and delete the hidden one."""
        self._write(self.out, self.rows)
        self.kept.unlink(missing_ok=True)
        self.log(f"written to {self.out}")

    def _write(self, file: Path, rows: list[Row]) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole(file) as path:
            path.write_text(_dump(self.facts, rows))


def measure_apart(job: Job) -> dict[str, Any]:
    """Measure in a process of its own; it ends with all of its workers, whatever happens."""
    command = [sys.executable, "-m", "benchmarks.measure", json.dumps(job)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            output, errors = process.communicate()
        except BaseException:
            with suppress(ProcessLookupError):  # it may just have ended
                os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        reason = (errors.strip().splitlines() or [f"exit status {process.returncode}"])[-1]
        raise ChildProcessError(f"the measurement {describe(job)} failed: {reason}")
    return json.loads(output)


def describe(row: Row) -> str:
    """Return one line on a measurement that was made, or is to be made."""
    numbers = {
        "batch": row.get("batch_size"), "threads": row["threads"], "workers": row.get("workers"),
        "round": row["round"],
    }  # fmt: skip
    words = [row["part"], row.get("loop"), row.get("norm"), row.get("precision")]
    words += [f"{name} {number}" for name, number in numbers.items() if number is not None]
    words += [
        name.replace("_", " ") for name in ("channels_last", "persistent_workers") if row.get(name)
    ]
    return "  ".join(filter(None, words)) + _measured(row)


def find_rows(results: dict[str, Any], part: str) -> pd.DataFrame:
    """Return the measurements of one part, a row each."""
    return pd.DataFrame([row for row in results["measurements"] if row["part"] == part])


def find_goal(history: list[dict[str, float]]) -> float | None:
    """Return the seconds after which the goal was first reached in a race; None if it never was."""
    return next((row["seconds"] for row in history if row["accuracy"] >= ACCURACY_GOAL), None)


def describe_seconds(seconds: float) -> str:
    """Return seconds with their unit, and with a decimal where it matters."""
    return f"{seconds:,.0f} s" if seconds >= 100 else f"{seconds:.1f} s"


def _measured(row: Row) -> str:
    if "images_per_second" in row:
        return f":  {row['images_per_second']:,.0f} images/s  {row['memory'] / 2**20:,.0f} MiB"
    if "flops_per_second" in row:
        operations, traffic = row["flops_per_second"] / 1e9, row["bytes_per_second"] / 1e9
        return f":  {operations:,.0f} GFLOP/s  {traffic:,.1f} GB/s"
    if "history" in row:
        last = row["history"][-1]
        return f":  {percent(last['accuracy'])} after {describe_seconds(last['seconds'])}"
    return ""


def _dump(facts: dict[str, Any], measurements: list[Row]) -> str:
    """Return readable JSON, with each measurement on one line."""
    text = json.dumps({**facts, "measurements": None}, indent=1)
    rows = ",\n  ".join(map(json.dumps, measurements))
    return text.replace('"measurements": null', f'"measurements": [\n  {rows}\n ]') + "\n"
