"""The normalisation layers that are compared, behind one name each."""

from collections.abc import Callable

from torch import nn

EPS = 1e-5  # the same for every kind, so that nothing but the axes differs

NORMS: dict[str, Callable[[int, int], nn.Module]] = {
    "bn": lambda channels, groups: nn.BatchNorm2d(channels, eps=EPS),
    "gn": lambda channels, groups: nn.GroupNorm(groups, channels, eps=EPS),
    "ln": lambda channels, groups: nn.GroupNorm(1, channels, eps=EPS),
    "none": lambda channels, groups: nn.Identity(),
}


def make_norm(kind: str, channels: int, groups: int = 2) -> nn.Module:
    """Make the normalisation layer of one kind for feature maps (N, channels, H, W).

    Every kind subtracts a mean and divides by a standard deviation, then scales and shifts each
    channel by two learned numbers. They differ only in the axes that share a mean and a variance:

    - ``bn``: (N, H, W), one pair per channel (Ioffe and Szegedy 2015, arXiv 1502.03167, Alg. 1).
      In evaluation it uses running averages instead of the batch's own statistics.
    - ``gn``: (C / groups, H, W), one pair per image and group of channels
      (Wu and He 2018, arXiv 1803.08494, Eq. 7).
    - ``ln``: (C, H, W), one pair per image (Ba et al. 2016, arXiv 1607.06450, Eq. 3). It is
      GroupNorm with one group, so its scale and shift are per channel and it has exactly as many
      parameters as the others. ``nn.LayerNorm([C, H, W])`` would have H * W times as many.
    - ``none``: leaves its input as it is.

    Args:
        kind: ``bn``, ``gn``, ``ln`` or ``none``.
        channels: number of channels C.
        groups: number of groups of ``gn``; has no meaning for the others.

    Raises:
        ValueError: if the kind is unknown or the groups of ``gn`` do not divide the channels.
    """
    if not isinstance(kind, str) or kind not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}; got {kind!r}")
    if kind == "gn" and not (isinstance(groups, int) and groups > 0 and channels % groups == 0):
        raise ValueError(
            f"groups must be a whole number that divides the {channels} channels; got {groups!r}"
        )
    return NORMS[kind](channels, groups)
