"""Speed, side by side with what a user would run instead."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "benchmark.json"  # written by python -m benchmarks
# What was reported as the best on the test set in 20 epochs of the usual loop of courses
GOALS = {"bn": 0.7624, "gn": 0.7526, "ln": 0.7207}
