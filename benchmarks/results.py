"""What has been measured: one thing after another, each kept as soon as it is finished."""

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

from benchmarks import ROOT
from era8.disk import atomic_write
from era8.tables import percent

Job = dict[str, Any]  # what to measure, as benchmarks/measure.py reads it
Row = dict[str, Any]  # a job, and what was measured
SHOWN = (  # of a job, in the terminal
    "part", "loop", "norm", "precision", "batch_size", "threads", "workers", "channels_last",
    "persistent_workers", "round",
)  # fmt: skip


class Results:
    """What has been measured so far, kept in a hidden file beside the one that it will become."""

    def __init__(
        self, out: Path, facts: dict[str, Any], place: dict[str, str], log: Callable[[str], Any]
    ) -> None:
        """Resume from the hidden file, if it states the same facts of machine and versions.

        Raises:
            OSError: if no file can be written there.
            ValueError: if the hidden file is damaged.
        """
        self.out, self.place, self.log = out, place, log
        self.kept = out.with_name(f".{out.stem}.partial{out.suffix}")
        self.rows, self.before = list[Row](), list[Row]()
        self.facts = facts | {"started": datetime.now(UTC).isoformat(timespec="seconds")}
        if self.kept.exists():
            try:
                kept = json.loads(self.kept.read_text())
                measurements = list(map(dict, kept.pop("measurements")))
            except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
                raise ValueError(f"{self.kept} is damaged; delete it to begin anew") from None
            if facts.items() <= kept.items():
                self.facts, self.before = kept, measurements
                log(f"resuming from {self.kept}; delete it to begin anew")
        else:
            self._write(self.kept, [])  # what cannot be kept is not measured

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
        """Write readable JSON, with each measurement on one line."""
        text = json.dumps({**self.facts, "measurements": None}, indent=1)
        lines = '"measurements": [\n  ' + ",\n  ".join(map(json.dumps, rows)) + "\n ]"
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as path:
            path.write_text(text.replace('"measurements": null', lines) + "\n")


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
    words = [row[n] if isinstance(row[n], str) else f"{n} {row[n]}" for n in SHOWN if n in row]
    if "images_per_second" in row:
        words += [f"{row['images_per_second']:,.0f} images/s", f"{row['memory'] / 2**20:,.0f} MiB"]
    elif "history" in row:
        last = row["history"][-1]
        words += [f"{percent(last['accuracy'])} after {last['seconds']:,.1f} s"]
    return "  ".join(words)
