"""Figures: records or images in, a matplotlib Figure out."""

from era8.figures.axes import plot_axes
from era8.figures.images import plot_guesses, plot_images, plot_layers, plot_misclassified
from era8.figures.live import play
from era8.figures.many import plot_differences, plot_dots, plot_lines
from era8.figures.network import plot_network
from era8.figures.style import use_theme
from era8.figures.training import plot_confusion, plot_curves, plot_per_class, plot_skips
