"""CIFAR-10's files on disk: found, unpacked and verified.

Nothing here unpickles: content is handed on only once its checksum is the right one. The names and
checksums are those of ``torchvision.datasets.CIFAR10``, which would take seconds to import; a test
holds them to it.
"""

import hashlib
import shutil
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOSPC
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock

ARCHIVE = "cifar-10-python.tar.gz"
FOLDER = "cifar-10-batches-py"
MD5 = "c58f30108f718f92721af3b95e74349a"  # of the archive
FILES = {  # MD5 by name
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
}


class DataError(RuntimeError):
    """The data is damaged, or could not be delivered."""


def check_integrity(path: Path, md5: str) -> bool:
    """Return whether a file is there and has an MD5."""
    return path.is_file() and _md5(path.read_bytes()) == md5


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def find_files(place: Path) -> Path | None:
    """Return the verified data set in a place, unpacked if need be; None if there is nothing.

    A folder of another name, none of whose files is CIFAR-10's, is passed over.
    """
    for folder in (place / FOLDER, place):
        if alike := [name for name in FILES if (folder / name).exists()]:
            if folder.name == FOLDER or any(check_integrity(folder / n, FILES[n]) for n in alike):
                return verify(folder)
            print(f"{folder} is passed over: its {alike[0]} is not CIFAR-10's", file=sys.stderr)
    archive = place / ARCHIVE
    if not archive.exists():
        return None
    if not check_integrity(archive, MD5):
        raise DataError(
            f"{archive} is damaged: its MD5 must be {MD5}; put a whole one in its place, or name "
            "another folder, or none and it is fetched"
        )
    return unpack(archive, place)


def verify(folder: Path) -> Path:
    """Return the folder if each file in it has its checksum."""
    for name in FILES:
        read(folder / name)
    return folder


def read(path: Path) -> bytes:
    """Return the content of one of the files, whose checksum is the right one."""
    content = path.read_bytes() if path.is_file() else b""
    if _md5(content) != FILES[path.name]:
        raise DataError(
            f"{path} is {'damaged' if path.exists() else 'missing'}: all of {', '.join(FILES)} "
            f"must be there, with the right checksums; move {path.parent} away, then unpack "
            f"{ARCHIVE} in its place, or name no folder and it is fetched"
        )
    return content


def unpack(archive: Path, place: Path) -> Path:
    """Unpack a verified archive, so that its folder appears in a place whole or not at all."""
    with explain_disk_errors(place), FileLock(place / ".unpack.lock"):
        for leftover in place.glob(".unpack-*"):  # of a process that was killed
            shutil.rmtree(leftover)
        with TemporaryDirectory(prefix=".unpack-", dir=place) as temporary:
            with tarfile.open(archive) as tar:
                tar.extractall(temporary, filter="data")
            unpacked = verify(Path(temporary, FOLDER))
            with suppress(OSError):  # it is there already
                unpacked.replace(place / FOLDER)
    return verify(place / FOLDER)


@contextmanager
def explain_disk_errors(folder: Path) -> Iterator[None]:
    """Turn an error of the disk into one sentence; on a full one, free what the download took."""
    try:
        yield
    except OSError as error:
        if error.errno == ENOSPC:
            (folder / f"{ARCHIVE}.part").unlink(missing_ok=True)
        raise DataError(
            f"CIFAR-10 could not be written in {folder} ({error.strerror or error}); it takes "
            "400 MB in a folder that can be written: make room there, or set XDG_CACHE_HOME or "
            "ERA8_DATA to a folder elsewhere"
        ) from error
