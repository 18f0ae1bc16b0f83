"""The state of a run that is not finished, from which a rerun goes on.

A library such as safetensors keeps tensors alone; here an optimizer, a schedule and generators of
random numbers are kept too, so that the run ends as if it had never been stopped.
"""

import os
from pathlib import Path
from typing import Any

import torch

from era8.records import load_tensors, save_tensors

FORMAT = 3  # of the file; to be raised when its content changes


class Checkpoint:
    """A file that holds the state of a run after its last whole epoch.

    Args:
        path: the file; None keeps nothing.
        run: what identifies the run, as plain values by name; a file of another run is refused.
        parts: the model, the optimizer and whatever else has a ``state_dict``, by name.
        generators: sources of randomness that the run draws from.
    """

    def __init__(
        self,
        path: str | os.PathLike | None,
        run: dict[str, Any],
        parts: dict[str, Any],
        generators: list[torch.Generator],
    ) -> None:
        """Read and write nothing yet."""
        self.path = None if path is None else Path(path)
        self.run = {"format": FORMAT, **run}
        self.parts, self.generators = parts, generators

    def load(self) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
        """Put every part into the state that was saved; return the history and the sittings so far.

        Both are empty, and nothing is changed, if there is no file. Loading never executes code.

        Raises:
            ValueError: if the file is damaged or belongs to another run.
        """
        if self.path is None or not self.path.exists():
            return [], []
        restart = "delete it to start the run anew"
        try:
            state = load_tensors(self.path)
            saved = dict(state["run"])
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise ValueError(f"the checkpoint is damaged: {error}; {restart}") from None
        if saved != self.run:
            names = [n for n in {**saved, **self.run} if saved.get(n) != self.run.get(n)]
            differences = [f"{n} is {saved.get(n)} there, {self.run.get(n)} here" for n in names]
            raise ValueError(
                f"the checkpoint {self.path} is of another run: {'; '.join(differences)}; {restart}"
            )
        try:
            for name, part in self.parts.items():
                part.load_state_dict(state["parts"][name])
            for generator, value in zip(self.generators, state["generators"], strict=True):
                generator.set_state(value)
            return state["history"], state["sittings"]
        except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{self.path} does not fit this run: {reason}; {restart}") from None

    def save(self, history: list[dict[str, Any]], sittings: list[dict[str, str]]) -> None:
        """Write the state of all parts, whole or not at all.

        Args:
            history: one row per epoch so far.
            sittings: what made them: one row of device, start and commit per process.

        Raises:
            OSError: if the file cannot be written; the one before it is kept.
        """
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "run": self.run,
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
            "generators": [generator.get_state() for generator in self.generators],
        }
        save_tensors(self.path, state | {"history": history, "sittings": sittings})
