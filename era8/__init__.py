"""What normalisation and skip connections do to a small convolutional network."""

from era8.data import load_cifar10, load_data
from era8.model import Session8Net, make_model
from era8.norms import make_norm
from era8.recipe import FAST, Recipe
from era8.tables import load_epochs, load_runs
from era8.train import fit

__all__ = [
    "FAST",
    "Recipe",
    "Session8Net",
    "fit",
    "load_cifar10",
    "load_data",
    "load_epochs",
    "load_runs",
    "make_model",
    "make_norm",
]
