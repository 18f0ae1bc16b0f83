"""The state of a run that is not finished, from which a rerun resumes.

A library such as safetensors keeps tensors alone; here an optimizer, a schedule and generators of
random numbers are kept too, so that the run ends as if it had never been stopped.
"""

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from era8.disk import atomic_write, dump_tensors, read_tensors
from era8.run import FINGERPRINTS

FORMAT = 5  # of the file; to be raised when its content changes
SEAL = hashlib.sha256().digest_size  # bytes before the content: its SHA-256


class CheckpointError(ValueError):
    """A checkpoint is damaged, or of another run."""


@dataclass
class Checkpoint:
    """A file that holds the state of a run after its last whole epoch."""

    path: Path | None  # None keeps nothing
    run: dict[str, Any]  # its settings and what it is made from; a file of another is refused
    parts: dict[str, Any]  # the model, the optimizer and what else has a state_dict, by name
    generators: Sequence[torch.Generator]  # which the run draws from

    def load(
        self, log: Callable[[str], Any] = print
    ) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
        """Put every part into the state that was saved; return the history and the sittings so far.

        Both are empty, and nothing is changed, if there is no file. Loading never executes code.
        A generator of another device begins anew, which is logged; what a model keeps outside of
        its state_dict, such as a buffer that is not persistent, begins anew, unsaid.

        Raises:
            CheckpointError: if the file is damaged or belongs to another run.
        """
        if self.path is None or not self.path.exists():
            return [], []
        restart = "delete it to start the run anew"
        try:
            sealed = self.path.read_bytes()
            if hashlib.sha256(sealed[SEAL:]).digest() != sealed[:SEAL]:
                raise ValueError(f"{self.path} is not as it was written")
            state = read_tensors(sealed[SEAL:], self.path)
        except (ValueError, OSError) as error:
            raise CheckpointError(f"the checkpoint is damaged: {error}; {restart}") from None
        saved, run = state["run"], {"format": FORMAT} | self.run
        if names := [n for n in saved | run if saved.get(n) != run.get(n)]:
            names = [n for n in names if n not in FINGERPRINTS] or names  # these follow from others
            differences = [f"{n} is {saved.get(n)} there, {run.get(n)} here" for n in names]
            raise CheckpointError(
                f"the checkpoint {self.path} is of another run: {'; '.join(differences)}; {restart}"
            )
        try:
            for name, part in self.parts.items():
                if state["parts"][name]:  # a scaler that is off, as in float32, has no state
                    part.load_state_dict(state["parts"][name])
            history, sittings = state["history"], state["sittings"]
        except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(
                f"{self.path} does not fit this run: {reason}; {restart}"
            ) from None
        for generator, value in zip(self.generators, state["generators"], strict=True):
            try:
                generator.set_state(value)
            except (RuntimeError, TypeError):  # that of a GPU has another form than that of a CPU
                generator.manual_seed(int(value[:4].sum()) + 1)
                log("resumes on another kind of device: the images come in another order now")
        random.setstate(state["python"])
        np.random.set_state(state["numpy"])
        return history, sittings

    def save(self, history: list[dict[str, Any]], sittings: list[dict[str, str]]) -> None:
        """Write the state of all parts, whole or not at all.

        Those are the history, a row per epoch, and its sittings, a row per process.

        Raises:
            OSError: if the file cannot be written; the one before it is kept.
        """
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kind, keys, *place = np.random.get_state(legacy=True)  # type: ignore[misc]
        state = {
            "run": {"format": FORMAT} | self.run,
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
            "generators": [generator.get_state() for generator in self.generators],
            "python": random.getstate(),
            "numpy": (kind, list(map(int, keys)), *place),
        }
        content = dump_tensors(state | {"history": history, "sittings": sittings})
        with atomic_write(self.path) as partial:
            partial.write_bytes(hashlib.sha256(content).digest() + content)
