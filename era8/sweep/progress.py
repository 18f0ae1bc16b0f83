"""A sweep's progress bar in the terminal; lines where there is none."""

import re
from collections import Counter
from collections.abc import Sequence

from tqdm import tqdm

from era8.sweep.grid import Cell


class SweepBar(tqdm):
    """A progress bar over the images that all cells of a sweep are trained on, again and again."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        """Begin with the cells that are still to be trained."""
        self.seen, self.ended, self.cells = Counter[str](), 0, len(cells)
        total = sum(cell.settings["epochs"] * _images(cell) for cell in cells)
        form = "{percentage:3.0f} %|{bar}| {elapsed}, {remaining} left{postfix}"
        super().__init__(total=total, disable=None, bar_format=form)

    def show(self, cell: Cell, line: str) -> None:
        """Advance by the epoch that a line of a cell reports; an empty line is the cell's end."""
        said = re.match(r"epoch +(\d+)/", line)  # a cell may go on from a checkpoint, or fail
        epochs = int(said[1]) if said else cell.settings["epochs"]
        epochs = max(0, epochs - self.seen[cell.name])
        self.seen[cell.name] += epochs
        self.ended += not line
        if self.disable:
            print(f"{cell.name}: {line or 'end'}", flush=True)
        self.set_postfix_str(f"{self.ended} of {self.cells} cells", refresh=False)
        self.update(epochs * _images(cell))


def _images(cell: Cell) -> int:
    return cell.settings["train_images"] - cell.settings["val_images"]
