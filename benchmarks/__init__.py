"""Speed, side by side with what a user would run instead."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "benchmark.json"  # written by python -m benchmarks
SCALING = ROOT / "results" / "scaling.json"  # written by python -m benchmarks.scaling
