"""The files of a run on disk: their names, the lock of its folder, and how they are written."""

import errno
import hashlib
import io
import itertools
import os
import pickle
import shutil
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, SoftFileLock, Timeout

LOCK, SOFT = ".lock", ".soft"  # in the folder of a run, see claim
NO_LOCKS = {errno.EOPNOTSUPP, errno.ENOLCK, errno.EIO}
CHECKPOINT = "checkpoint.pt"  # of a run that is not finished, see era8.checkpoint
RECORD, WEIGHTS, HISTORY = "record.json", "weights.pt", "history.csv"  # of one that is
RESULTS = (WEIGHTS, HISTORY)  # which the record names the SHA-256 of


class BusyError(RuntimeError):
    """Another process trains the same run."""


@contextmanager
def claim(folder: Path, timeout: float = 0) -> Iterator[Path]:
    """Yield the folder of a run, made if need be, to be written to by this process alone.

    What a killed process left half written is deleted. ``timeout`` is in seconds; -1 has no end.

    Raises:
        BusyError: if another process is at it.
        OSError: if the folder cannot be made or written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _lock(folder / LOCK, timeout):
            for leftover in folder.glob(".*.partial*"):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
            yield folder
            if (folder / RECORD).exists():  # the run is finished, if by one that was killed then
                (folder / CHECKPOINT).unlink(missing_ok=True)
    except Timeout:
        raise BusyError(
            f"{folder} is being trained by another process{_find_owner(folder)}; wait for it"
        ) from None


def _lock(path: Path, timeout: float) -> AbstractContextManager:
    """Take a lock: the system's, or a file's existence on a network drive that has no locks."""
    try:
        with warnings.catch_warnings(action="ignore"):
            return FileLock(path, timeout=timeout).acquire()  # takes care of ENOSYS alone
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return SoftFileLock(path.with_suffix(SOFT), timeout=timeout).acquire()


def _find_owner(folder: Path) -> str:
    """Return whose lock a folder has and what to do, where the system itself does not know."""
    for path in (folder / LOCK, (folder / LOCK).with_suffix(SOFT)):
        with suppress(OSError, ValueError):
            process, host, *_ = path.read_text().splitlines()
            since = datetime.fromtimestamp(path.stat().st_mtime).isoformat(" ", "minutes")
            return f" ({process} on {host}, since {since}; if that has ended, delete {path})"
    return ""


def set_aside(folder: Path, *names: str) -> str:
    """Rename files of a folder, so that nothing is overwritten; return what the first is then."""
    numbers = (i for i in itertools.count() if not any(folder.glob(f"aside-{i}-*")))
    aside = f"aside-{next(numbers)}-"
    for path in (folder / name for name in names):
        if path.exists():
            path.rename(folder / f"{aside}{path.name}")
    return f"{aside}{names[0]}"


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a path beside the given one to write to; it is moved there whole, or not at all.

    The library for it, atomicwrites, is no longer kept.
    """
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())  # or a machine that loses power may keep an empty file
        os.replace(partial, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # that of a full disk names none
        raise
    finally:
        partial.unlink(missing_ok=True)


def dump_tensors(values: Any) -> bytes:
    """Return tensors and plain values as the content of a file.

    Raises:
        ValueError: if there are other values, which could not be read back.
    """
    buffer = io.BytesIO()  # so that a full disk is an OSError, as everywhere else
    torch.save(values, buffer)
    try:
        torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError(
            "a model's state must be tensors and plain values, of which its get_extra_state "
            "returns others; return tensors, numbers, text, lists or dicts there"
        ) from None
    return buffer.getvalue()


def read_tensors(content: bytes, path: Path) -> Any:
    """Return the tensors of a file's content, on the CPU, without ever executing code.

    Raises:
        ValueError: if it cannot be read; names the path.
    """
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:  # a damaged file makes torch raise nearly anything
        raise ValueError(f"{path} cannot be read: it holds no tensors, or is damaged") from None


def calculate_sha256(content: bytes) -> str:
    """Return the SHA-256 of a file's content as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
