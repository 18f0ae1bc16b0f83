"""The training loop."""

import copy
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from era8 import checks
from era8.blocks import unwrap
from era8.checkpoint import SUMS, Checkpoint, CheckpointError, identify
from era8.data import CLASSES, Data, normalise
from era8.data.batches import train_batches
from era8.device import (
    PRECISIONS,
    best_precision,
    device_name,
    is_watched,
    keep_freed_memory,
    memory_format,
    versions,
)
from era8.evaluate import accuracy, measure, predict, score
from era8.optim import make_optimizer, one_cycle
from era8.recipe import Recipe, as_recorded, name_run, settings_of
from era8.records import (
    CHECKPOINT,
    FILES,
    RECORD,
    Record,
    claim,
    load_run,
    load_weights,
    save_run,
    set_aside,
)


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

    Nothing is chosen by the test set: it is the last epoch that the record reports, whichever was
    the best. If ``data`` has a validation set, that is looked at instead, and the test set is not
    read at all. Seed torch before the model is made, for its weights are drawn there: then a run
    is repeated bit by bit on the same CPU with the same number of threads.

    Args:
        model: takes images (N, 3, 32, 32), returns logits (N, 10); moved to the data's device.
        data: what :func:`era8.load_cifar10` returns.
        recipe: how to train; ``Recipe()`` if None.
        log: called with one line after each epoch.
        checkpoint: a file, written after each epoch. If it exists, the run goes on from there and
            ends as if it had never been stopped, bit by bit on the same CPU with the same number of
            threads; a change of either is logged, and in the record. It is kept;
            :func:`era8.records.save_run` deletes it once the record is on disk.

    Raises:
        ValueError: if the model has too many parameters or other outputs, the data is of another
            kind or smaller than a batch, or the checkpoint is damaged or of another run.
        FloatingPointError: if a loss is not finite; says at which epoch, step and learning rate.
    """
    recipe = recipe or Recipe()
    settings, n_images = settings_of(model, data, recipe), len(data.train)
    device, made_by = data.device, versions()
    precision = best_precision(device) if recipe.precision == "auto" else recipe.precision
    identity = {} if checkpoint is None else identify(unwrap(model), data, settings)
    keep_freed_memory()

    model.to(device, memory_format=memory_format(device)).train()  # type: ignore[call-overload]
    _check_outputs(model, data, recipe)
    optimizer = make_optimizer(model, recipe)
    schedule = one_cycle(optimizer, recipe, n_images)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    generator = torch.Generator(device).manual_seed(recipe.seed)
    state = Checkpoint(
        Path(checkpoint).expanduser() if checkpoint else None,
        identity,
        {"model": unwrap(model), "optimizer": optimizer, "schedule": schedule, "scaler": scaler},
        [generator, torch.default_generator],
    )

    history, sittings = state.load(log)
    held_out: Tensor | None = None  # the logits of the images that are watched
    started = datetime.now(UTC).isoformat(timespec="seconds")
    sitting = {"device": device_name(device), "precision": precision, **made_by}
    for name, value in sitting.items():
        if sittings and sittings[-1][name] != value:
            log(f"going on with {name} {value}; it was {sittings[-1][name]}")
    sittings.append(sitting | {"started": started})
    try:
        for epoch in range(len(history) + 1, recipe.epochs + 1):
            start, lrs = time.perf_counter(), list[float]()
            losses, correct = [], torch.zeros((), dtype=torch.float32, device=device)  # stay there
            batches = train_batches(
                data.train, recipe.batch_size, generator, recipe.crop, recipe.flip,
                small=epoch <= recipe.small,
            )  # fmt: skip
            for images, labels in _watch(batches, epoch, recipe, n_images, log):
                with torch.autocast(device.type, PRECISIONS[precision], precision != "fp32"):
                    logits = model(images)  # (batch_size, 10)
                    loss = F.cross_entropy(logits, labels, reduction="sum")
                scaler.scale(loss / len(labels)).backward()
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad()
                lrs.append(float(schedule.get_last_lr()[0]))  # of all parameters
                schedule.step()
                losses.append(loss.detach())
                correct += (logits.argmax(1) == labels).sum()
            *sums, n_correct = torch.stack([*losses, correct]).tolist()  # waits for the epoch
            row = {"epoch": epoch, "lr": lrs[-1]}
            row["train_loss"] = _mean_loss(sums, n_images, epoch, lrs)
            row["train_accuracy"] = n_correct / n_images
            row["seconds"] = time.perf_counter() - start
            held_out = predict(model, data.held_out)
            _check_finite(held_out, epoch)
            history.append(row | score(held_out, data))
            state.save(history, sittings)
            log(_describe(history[-1], recipe.epochs))
    except KeyboardInterrupt:  # Ctrl-C, or a notebook's stop button
        raise KeyboardInterrupt(f"stopped after epoch {len(history)} of {recipe.epochs}") from None

    return Record(
        **as_recorded(settings) | {"precision": _join(sittings, "precision")},
        **measure(model, data, held_out),
        train_loss=history[-1]["train_loss"],
        train_accuracy=history[-1]["train_accuracy"],
        train_accuracy_eval=accuracy(predict(model, data.train), data.train.labels),
        train_seconds=sum(row["seconds"] for row in history),
        device=_join(sittings, "device"),
        started=sittings[0]["started"],
        versions={name: _join(sittings, name) for name in made_by},
        sums={name: identity[name] for name in SUMS if identity},
        history=history,
    )


def fit_in(
    out_dir: str | os.PathLike,
    model: nn.Module,
    data: Data,
    recipe: Recipe | None = None,
    log: Callable[[str], Any] = print,
) -> tuple[Record, Path]:
    """Train a model as :func:`fit` does, in a folder of its own that keeps what it becomes.

    The folder is named by the run's settings, see :func:`era8.recipe.name_run`, so that no run
    overwrites another. If the same run has been trained there, its record and weights are read
    instead; if it was stopped, it goes on after its last whole epoch. A result that is damaged, and
    a checkpoint that is or was left by other code, are renamed, and the run starts anew.

    Returns:
        The record, and the folder.

    Raises:
        ValueError: as :func:`fit`, or, as an OtherRunError, if the folder holds another run.
        OSError: if the folder cannot be written to.
        era8.records.BusyError: if another process trains this run.
    """
    recipe = recipe or Recipe()
    settings = settings_of(model, data, recipe)
    with claim(checks.folder("out_dir", out_dir) / name_run(settings)) as folder:
        first, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
        try:
            if (folder / RECORD).exists():
                record = load_run(folder)
                refuse_other(record, settings, folder)
                own = identify(unwrap(model), data, settings)
                if others := [n for n in SUMS if record.sums.get(n, own[n]) != own[n]]:
                    raise OtherRunError(
                        f"{folder} holds a run of other {' and '.join(others)}; move it away, or "
                        "seed torch before the model is made"
                    )
                load_weights(folder, model.to(data.device))
                log(f"trained before: {folder} is read instead; rename it to train anew")
                for row in record.history:
                    log("  " + _describe(row, record.epochs))
                return record, folder
        except OtherRunError:
            raise
        except ValueError as error:  # it is damaged
            log(f"{error}: renamed to {set_aside(folder, RECORD, *FILES)}; starting anew")
        try:
            record = fit(model, data, recipe, log, folder / CHECKPOINT)
        except CheckpointError as error:
            model.load_state_dict(first)
            torch.set_rng_state(random)
            log(f"{error}: renamed to {set_aside(folder, CHECKPOINT)}; starting anew")
            record = fit(model, data, recipe, log, folder / CHECKPOINT)
        save_run(folder, record, model)
    return load_run(folder), folder


def refuse_other(record: Record, settings: Mapping[str, Any], folder: Path) -> None:
    """Raise an OtherRunError if a folder's record is not that of a run with these settings."""
    free = {"groups"} if settings["norm"] != "gn" else set()  # older records have 1 there
    free |= {"precision"} if settings["precision"] == "auto" else set()
    said = {n: (getattr(record, n), v) for n, v in as_recorded(settings).items() if n not in free}
    if other := ", ".join(f"{n} is {a}, not {b}" for n, (a, b) in said.items() if a != b):
        raise OtherRunError(f"{folder} holds the record of another run ({other}); move it away")


def _watch(
    batches: Iterator[Any], epoch: int, recipe: Recipe, n_images: int, log: Callable[[str], Any]
) -> Iterator[Any]:
    """Return batches; where a person looks on, the share of the epoch moves as they are taken."""
    if log is not print or not is_watched(sys.stdout):
        return batches  # even a bar that is off has a semaphore, which a kill leaves
    return tqdm(
        batches, f"epoch {epoch:2d}/{recipe.epochs}", math.ceil(n_images / recipe.batch_size),
        leave=False, file=sys.stdout, mininterval=1,
        bar_format="{desc}  {percentage:3.0f} %  {remaining} left",
    )  # fmt: skip


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
    images = normalise(data.train.images[:2])
    with torch.inference_mode():
        logits = model.eval()(images)
        try:
            if recipe.small:
                model(F.avg_pool2d(images, 2))
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(
                "small must be 0 for a model that takes images of 32 x 32 pixels only; got "
                f"{recipe.small} ({reason})"
            ) from None
    model.train()
    shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if shape != (len(images), len(CLASSES)):
        raise ValueError(
            f"the model must return logits (N, {len(CLASSES)}); it returns {shape} for "
            f"{len(images)} images"
        )


def _check_finite(logits: Tensor, epoch: int) -> None:
    """Refuse the outputs of a network whose weights the last step has spoilt."""
    if not logits.isfinite().all():
        raise FloatingPointError(
            f"the network's outputs are not finite after epoch {epoch}; try a smaller lr"
        )


def _describe(row: dict[str, Any], epochs: int) -> str:
    """Return one line on an epoch."""
    name = "val" if "val_accuracy" in row else "test"
    return (
        f"epoch {row['epoch']:2d}/{epochs}  loss {row['train_loss']:.4f}  "
        f"train {row['train_accuracy']:7.2%}  {name} {row[f'{name}_accuracy']:7.2%}  "
        f"{row['seconds']:.1f} s"
    )
