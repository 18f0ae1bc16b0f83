"""Generated images in ten classes, for trying era8 where there is no network."""

import numpy as np


def synthetic_arrays(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw ``n`` images of ten shapes that a small network can learn to tell apart.

    Each shape has a random place, size, and pair of colours, and noise on top. All ten look the
    same in a mirror, so that flips are harmless. Returns images (n, 3, 32, 32) uint8, and labels
    (n,) int64, the ten classes in turn.
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 10
    centre = rng.uniform(-4, 4, (2, n, 1, 1))
    radius = rng.uniform(7, 13, (n, 1, 1))
    grid = np.arange(32) - 15.5
    u = np.abs(grid[:, None] - centre[0]) / radius  # (n, 32, 32), distance from the centre
    v = np.abs(grid[None, :] - centre[1]) / radius
    near, far = np.minimum(u, v), np.maximum(u, v)
    distance = np.hypot(u, v)
    shapes = (
        distance < 1,  # disc
        far < 0.9,  # square
        u + v < 1.2,  # diamond
        (distance < 1.1) & (distance > 0.6),  # ring
        (near < 0.3) & (far < 1.1),  # plus
        (far < 1.0) & (far > 0.6),  # frame
        (np.abs(u - v) < 0.3) & (far < 1.1),  # cross
        np.cos(5 * u) > 0,  # horizontal stripes
        np.cos(5 * v) > 0,  # vertical stripes
        np.cos(5 * u) * np.cos(5 * v) > 0,  # checkerboard
    )
    inside = np.choose(labels[:, None, None], shapes)[:, None]  # (n, 1, 32, 32)
    background = rng.uniform(0, 255, (n, 3, 1, 1))
    contrast = rng.uniform(70, 128, (n, 3, 1, 1))
    colour = background + np.where(background < 128, contrast, -contrast)
    noise = rng.normal(0, 16, (n, 3, 32, 32))
    images = np.where(inside, colour, background) + noise
    return images.clip(0, 255).astype(np.uint8), labels
