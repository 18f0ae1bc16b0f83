"""The commit that this copy of era8 is of."""

import subprocess
from pathlib import Path

PACKED = "$Format:%h$"  # git archive fills it in, as GitHub does for its zips, and so does setup.py


def find_commit() -> str:
    """Return what git says of a clone, else what was filled in when this copy was packed.

    It ends in ``-dirty`` if a file of the package was changed since, and is ``unknown`` if there
    is neither.
    """
    here = Path(__file__)

    def git(*words: str) -> str:
        command = ["git", "-C", str(here.parent), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)  # else the repository is somebody else's
        commit = git("rev-parse", "--short=9", "HEAD")
        return commit + ("-dirty" if git("diff", "--name-only", "HEAD", "--", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown" if PACKED.startswith("$") else PACKED
