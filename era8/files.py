"""CIFAR-10's files on disk: found, unpacked and verified.

Nothing here unpickles: a file is handed on only once its checksum is the one torchvision lists.
"""

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOSPC
from pathlib import Path
from tempfile import TemporaryDirectory

from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import calculate_md5, check_integrity

ARCHIVE = CIFAR10.filename
FOLDER = CIFAR10.base_folder
FILES = dict(CIFAR10.train_list + CIFAR10.test_list)  # checksums by name
FILES[CIFAR10.meta["filename"]] = CIFAR10.meta["md5"]
MD5 = "c58f30108f718f92721af3b95e74349a"  # of the archive


class DataError(RuntimeError):
    """The data is damaged, or could not be delivered."""


def find_files(place: Path) -> Path | None:
    """Return the verified data set in a place, unpacked if need be; None if there is nothing."""
    for folder in (place / FOLDER, place):
        if any((folder / name).exists() for name in FILES):
            return verify(folder)
    archive = place / ARCHIVE
    if not archive.exists():
        return None
    if not check_integrity(archive, MD5):
        raise DataError(
            f"{archive} is damaged: its MD5 is {calculate_md5(archive)}, and must be {MD5}; "
            f"delete it, or name no folder and it is fetched"
        )
    return unpack(archive, place)


def verify(folder: Path) -> Path:
    """Return the folder if each file in it has the checksum that torchvision lists."""
    for path, md5 in ((folder / name, md5) for name, md5 in FILES.items()):
        if not check_integrity(path, md5):
            raise DataError(
                f"{path} is {'damaged' if path.exists() else 'missing'}: all of {', '.join(FILES)} "
                f"must be there, with the checksums that torchvision lists; delete {folder}, then "
                f"unpack {ARCHIVE} in its place, or name no folder and it is fetched"
            )
    return folder


def unpack(archive: Path, place: Path) -> Path:
    """Unpack a verified archive, so that its folder appears in a place whole or not at all."""
    with explain_disk_errors(place), TemporaryDirectory(prefix=".unpack-", dir=place) as temporary:
        with tarfile.open(archive) as tar:
            tar.extractall(temporary, filter="data")
        unpacked = verify(Path(temporary, FOLDER))
        with suppress(OSError):  # another process may have been first
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
