"""The training loop."""

import copy
import math
import os
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from era8 import checks
from era8.blocks import unwrap
from era8.checkpoint import Checkpoint, CheckpointError
from era8.data import CLASSES, Data, normalise
from era8.data.batches import train_batches
from era8.device import (
    PRECISIONS,
    best_precision,
    device_name,
    keep_freed_memory,
    memory_format,
    versions,
)
from era8.disk import CHECKPOINT, RECORD, RESULTS, claim, set_aside
from era8.evaluate import accuracy, measure, predict, score
from era8.optim import make_optimizer, one_cycle
from era8.progress import ProgressLog
from era8.recipe import Recipe
from era8.records import Record, load_run, load_weights, save_run
from era8.run import Run, check_size, fingerprint, run_of


class OtherRunError(ValueError):
    """A folder holds the record of another run."""


def fit(
    model: nn.Module,
    data: Data,
    recipe: Recipe | None = None,
    log: Callable[[str], Any] = print,
    checkpoint: str | os.PathLike | None = None,
) -> Record:
    """Train a model in place, watch its test set after each epoch, and return the run's record.

    The record reports the last epoch, whichever was the best. If ``data`` has a validation set,
    that is looked at instead, and the test set is not read at all. Seed torch before the model is
    made: then a run is repeated bit by bit on the same CPU with the same number of threads.

    Args:
        model: takes images (N, 3, 32, 32), returns logits (N, 10); moved to the data's device.
        data: what :func:`era8.load_cifar10` returns.
        recipe: how to train; ``Recipe()`` if None.
        log: called with one line after each epoch, and where neither a bar moves nor a notebook
            keeps all lines, with one at least every ten seconds.
        checkpoint: a file, written after each epoch. If it exists, the run resumes there and
            ends as if it had never been stopped, bit by bit on the same CPU with the same number of
            threads; a change of either is logged, and in the record.

    Raises:
        ValueError: if the model has too many parameters or other outputs, the data is of another
            kind or smaller than a batch, or the checkpoint is damaged or of another run.
        FloatingPointError: if a loss is not finite; says at which epoch, step and learning rate.
    """
    recipe = recipe or Recipe()
    run, n_parameters = run_of(model, data, recipe), check_size(model, recipe, len(data.train))
    device, made_by, log = data.device, versions(), ProgressLog(log)
    precision = best_precision(device) if run.precision == "auto" else run.precision
    fingerprints = fingerprint(model, data)
    keep_freed_memory()

    model.to(device, memory_format=memory_format(device)).train()  # type: ignore[call-overload]
    _check_outputs(model, data, recipe)
    optimizer = make_optimizer(model, recipe)
    schedule = one_cycle(optimizer, recipe, len(data.train))
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    generator = torch.Generator(device).manual_seed(recipe.seed)
    state = Checkpoint(
        Path(checkpoint).expanduser() if checkpoint else None,
        run.settings | {"checksum": data.checksum} | fingerprints,
        {"model": unwrap(model), "optimizer": optimizer, "schedule": schedule, "scaler": scaler},
        [generator, torch.default_generator],
    )

    history, sittings = state.load(log)
    held_out: Tensor | None = None  # the logits of the images that are watched
    started = datetime.now(UTC).isoformat(timespec="seconds")
    sitting = {"device": device_name(device), "precision": precision, **made_by}
    for name, value in sitting.items():
        if sittings and sittings[-1][name] != value:
            log(f"resumes with {name} {value}; it was {sittings[-1][name]}")
    sittings.append(sitting | {"started": started})
    try:
        for epoch in range(len(history) + 1, recipe.epochs + 1):
            start, low_res = time.perf_counter(), epoch <= recipe.low_res_epochs
            batches = train_batches(
                data.train, recipe.batch_size, generator, recipe.max_shift, recipe.flip, low_res
            )
            n_steps = math.ceil(len(data.train) / recipe.batch_size)
            title = f"epoch {epoch:2d}/{recipe.epochs}"
            with closing(log.watch(batches, n_steps, title)) as watched:  # a stop clears its bar
                losses, lrs, n_correct = train_epoch(
                    model, watched, optimizer, schedule, scaler, precision
                )
            row = {"epoch": epoch, "lr": lrs[-1]}
            row["train_loss"] = _mean_loss(losses, len(data.train), epoch, lrs)
            row["train_accuracy"] = n_correct / len(data.train)
            row["seconds"] = time.perf_counter() - start
            watch = partial(log.watch, title=f"{title}, evaluation")
            held_out = predict(model, data.held_out, watch)
            if not held_out.isfinite().all():
                raise FloatingPointError(
                    f"the network's outputs are not finite after epoch {epoch}; try a smaller lr"
                )
            row |= score(held_out, data)
            state.save([*history, row], sittings)
            history.append(row)  # what is not saved is not done: a stop would say so
            log(_describe(history[-1], recipe.epochs))
    except KeyboardInterrupt:  # Ctrl-C, or a notebook's stop button
        raise KeyboardInterrupt(f"stopped after epoch {len(history)} of {recipe.epochs}") from None

    title = f"epoch {recipe.epochs}/{recipe.epochs}, evaluation of the training images"
    watch = partial(log.watch, title=title)
    return Record(
        **run.settings | {"precision": _join(sittings, "precision")},
        **measure(model, data, held_out),
        n_parameters=n_parameters,
        checksum=data.checksum,
        train_loss=history[-1]["train_loss"],
        train_accuracy=history[-1]["train_accuracy"],
        train_accuracy_eval=accuracy(predict(model, data.train, watch), data.train.labels),
        train_seconds=sum(row["seconds"] for row in history),
        device=_join(sittings, "device"),
        started=sittings[0]["started"],
        versions={name: _join(sittings, name) for name in made_by},
        fingerprints=fingerprints,
        history=history,
    )


def train_epoch(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    scaler: torch.amp.GradScaler,
    precision: str,
) -> tuple[list[float], list[float], float]:
    """Train a model in place on batches: normalised images (N, 3, 32, 32) and labels (N,).

    Nothing in a step waits for a GPU: what it has computed is read once, at the end of the epoch.

    Returns:
        The sum of the losses of each step's images, the learning rate of each step, and how many
        images were classified correctly.
    """
    device = next(model.parameters()).device
    losses, lrs, correct = list[Tensor](), list[float](), torch.zeros((), device=device)
    for images, labels in batches:
        with torch.autocast(device.type, PRECISIONS[precision], precision != "fp32"):
            logits = model(images)  # (N, 10)
            loss = F.cross_entropy(logits, labels, reduction="sum")
        scaler.scale(loss / len(labels)).backward()  # gradients of the mean
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        lrs.append(float(schedule.get_last_lr()[0]))  # of all parameters
        schedule.step()
        losses.append(loss.detach())
        correct += (logits.argmax(1) == labels).sum()
    *sums, n_correct = torch.stack([*losses, correct]).tolist()
    return sums, lrs, n_correct


def fit_in(
    out_dir: str | os.PathLike,
    model: nn.Module,
    data: Data,
    recipe: Recipe | None = None,
    log: Callable[[str], Any] = print,
) -> tuple[Record, Path]:
    """Train a model as :func:`fit` does, in a folder of its own that keeps what it becomes.

    The folder has the run's name, so that no run overwrites another. If the run has been trained
    there, its record and weights are read instead; if it was stopped, it resumes after its last
    whole epoch. A result that is damaged, and a checkpoint that is or was left by other code, are
    renamed, and the run starts anew.

    Returns:
        The record, and the folder.

    Raises:
        ValueError: as :func:`fit`, or, as an OtherRunError, if the folder holds another run.
        OSError: if the folder cannot be written to.
        era8.disk.BusyError: if another process trains this run.
    """
    recipe = recipe or Recipe()
    run = run_of(model, data, recipe)
    with claim(checks.folder("out_dir", out_dir) / run.name) as folder:
        first, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
        try:
            if (folder / RECORD).exists():
                record = load_run(folder)
                refuse_other(record, run, folder, fingerprint(model, data))
                load_weights(folder, model.to(data.device))
                log(f"trained before: {folder} is read instead; rename it to train anew")
                for row in record.history:
                    log("  " + _describe(row, record.epochs))
                return record, folder
        except OtherRunError:
            raise
        except ValueError as error:  # it is damaged
            log(f"{error}: renamed to {set_aside(folder, RECORD, *RESULTS)}; starting anew")
        try:
            record = fit(model, data, recipe, log, folder / CHECKPOINT)
        except CheckpointError as error:
            model.load_state_dict(first)
            torch.set_rng_state(random)
            log(f"{error}: renamed to {set_aside(folder, CHECKPOINT)}; starting anew")
            record = fit(model, data, recipe, log, folder / CHECKPOINT)
        save_run(folder, record, model)
    return load_run(folder), folder


def refuse_other(record: Record, run: Run, folder: Path, fingerprints: dict[str, str]) -> None:
    """Raise an OtherRunError if a folder's record is of other settings, or made from other things.

    Only the fingerprints that are given, and that the record has, are compared.
    """
    if other := record.difference(run):
        said = ", ".join(f"{name} is {a}, not {b}" for name, (a, b) in other.items())
        raise OtherRunError(f"{folder} holds the record of another run ({said}); move it away")
    if others := [n for n, v in fingerprints.items() if record.fingerprints.get(n, v) != v]:
        raise OtherRunError(
            f"{folder} holds a run of other {' and '.join(others)}; move it away, or seed torch "
            "before the model is made"
        )


def _join(sittings: list[dict[str, str]], name: str) -> str:
    """Return what all processes of a run had of one thing, in their order."""
    return ", then ".join(dict.fromkeys(sitting[name] for sitting in sittings))


def _mean_loss(sums: list[float], n_images: int, epoch: int, lrs: list[float]) -> float:
    """Return the mean loss over an epoch's images from the steps' sums."""
    for step, loss in enumerate(sums):
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss was not finite at epoch {epoch}, step {step + 1} of {len(sums)}, with "
                f"learning rate {lrs[step]:.4g}; try a smaller lr"
            )
    return math.fsum(sums) / n_images


def _check_outputs(model: nn.Module, data: Data, recipe: Recipe) -> None:
    """Refuse a network without gradients, without ten logits, or without room for small images."""
    if not torch.is_grad_enabled() or any(p.is_inference() for p in model.parameters()):
        raise ValueError("a model must be made and trained outside of no_grad and inference_mode")
    if torch.is_autocast_enabled(data.device.type):
        raise ValueError("a model must be trained outside of autocast; the recipe has a precision")
    images = normalise(data.train.images[:2])
    with torch.inference_mode():
        logits = model.eval()(images)
        try:
            if recipe.low_res_epochs:
                model(F.avg_pool2d(images, 2))
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(
                "low_res_epochs must be 0 for a model that takes images of 32 x 32 pixels only; "
                f"got {recipe.low_res_epochs} ({reason})"
            ) from None
    model.train()
    shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if shape != (len(images), len(CLASSES)):
        raise ValueError(
            f"the model must return logits (N, {len(CLASSES)}); it returns {shape} for "
            f"{len(images)} images"
        )


def _describe(row: dict[str, Any], epochs: int) -> str:
    """Return one line on an epoch."""
    name = "val" if "val_accuracy" in row else "test"
    return (
        f"epoch {row['epoch']:2d}/{epochs}  loss {row['train_loss']:.4f}  "
        f"train {row['train_accuracy']:7.2%}  {name} {row[f'{name}_accuracy']:7.2%}  "
        f"{row['seconds']:.1f} s"
    )
