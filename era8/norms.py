"""The normalisation layers that are compared, behind one name each."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from era8.checks import check_int, one_of, own_class, show

EPS = 1e-5  # the same for every kind, so that nothing but the axes differs


class LayerNorm(nn.LayerNorm):
    """torch's LayerNorm, with the precision that it gets."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps, each image of mean 0 and variance 1 before scale and shift."""
        return super().forward(x).to(x.dtype)


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of each pixel of (N, C, H, W), as in ConvNeXt."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps, each pixel of mean 0 and variance 1 before scale and shift."""
        return _like(super().forward(x.movedim(1, -1)).movedim(-1, 1), x)


class GroupNorm(nn.GroupNorm):
    """torch's GroupNorm, in float32 where its bfloat16 is slow, with the precision that it gets.

    On a CPU in channels-last order torch is several times slower with bfloat16 groups whose
    channels do not fill its vectors of 16.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps, each group of mean 0 and variance 1 before scale and shift."""
        slow = x.dtype == torch.bfloat16 and self.num_channels // self.num_groups % 16 != 0
        return _like(super().forward(x.float() if slow else x), x)


def _like(y: Tensor, x: Tensor) -> Tensor:
    """Return y in the precision of x and with its order of memory, as BatchNorm does.

    On a GPU autocast has all other norms work in float32, and in contiguous memory: they would
    hand that on, and the next convolution would turn it back.
    """
    last = x.is_contiguous(memory_format=torch.channels_last)
    return y.to(x.dtype, memory_format=torch.channels_last if last else torch.contiguous_format)


NORMS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "bn": lambda channels, groups, size: nn.BatchNorm2d(channels, eps=EPS),
    "gn": lambda channels, groups, size: GroupNorm(groups, channels, eps=EPS),
    "ln": lambda channels, groups, size: GroupNorm(1, channels, eps=EPS),
    "none": lambda channels, groups, size: nn.Identity(),
    "ln_c": lambda channels, groups, size: ChannelNorm(channels, eps=EPS),
    "ln_chw": lambda channels, groups, size: LayerNorm([channels, size, size], eps=EPS),
}


def make_norm(kind: str, channels: int, groups: int = 2, size: int = 0) -> nn.Module:
    """Make the normalisation layer of one kind for feature maps (N, channels, H, W).

    Every kind subtracts a mean and divides by a standard deviation, then scales and shifts each
    channel by two learned numbers. They differ only in the axes that share a mean and a variance:

    - ``bn``: (N, H, W), one pair per channel (Ioffe and Szegedy 2015, arXiv 1502.03167, Alg. 1).
      In evaluation it uses running averages instead of the batch's own statistics.
    - ``gn``: (C / groups, H, W), one pair per image and group of channels
      (Wu and He 2018, arXiv 1803.08494, Eq. 7).
    - ``ln``: (C, H, W), one pair per image (Ba et al. 2016, arXiv 1607.06450, Eq. 3). It is
      GroupNorm with one group, so that it has exactly as many parameters as the others.
    - ``none``: leaves its input as it is.
    - ``ln_c``, also called LayerNorm: (C), one pair per image and pixel, as in ConvNeXt (Liu et al.
      2022, arXiv 2201.03545).
    - ``ln_chw``, also called LayerNorm: (C, H, W), but scale and shift are per channel and pixel,
      H * W times as many parameters: ``nn.LayerNorm([C, H, W])``, for maps of one size only.

    Or it is one of your own, by ``module:Class``: a Module that is made from the number of channels
    and keeps the shape of maps. The module may lie in the current folder.

    Args:
        kind: one of these.
        channels: number of channels C.
        groups: number of groups of ``gn``.
        size: height and width of the maps of ``ln_chw``.

    Raises:
        ValueError: if the kind is unknown or cannot be made, the groups of ``gn`` do not divide the
            channels, or ``ln_chw`` has no size.
    """
    if isinstance(kind, str) and ":" in kind:
        return _make_own(kind, channels, size)
    one_of("norm", kind, [*NORMS, "module:Class of your own"])
    channels, groups = check_int("channels", channels, 1), check_int("groups", groups, 1)
    if kind == "gn" and channels % groups != 0:
        raise ValueError(
            f"groups must be a whole number that divides the {channels} channels; got {groups!r}"
        )
    if kind == "ln_chw":
        size = check_int("size", size, 1)
    return NORMS[kind](channels, groups, size)


def _make_own(name: str, channels: int, size: int) -> nn.Module:
    """Make a norm of one's own, once it has been tried on maps."""
    own = own_class("norm", name, nn.Module, [*NORMS, *map(str.upper, NORMS)])
    maps = torch.ones(2, channels, size or 8, size or 8)
    try:
        norm = own(channels)
        with torch.no_grad():
            out = norm.eval()(maps)
        if out.shape != maps.shape:
            raise ValueError(f"it makes {tuple(out.shape)} of {tuple(maps.shape)}")
    except Exception as error:  # it is anybody's code
        raise ValueError(
            f"norm {show(name)} must be made from the number of channels, and keep the shape of "
            f"maps (N, C, H, W): {' '.join(str(error).split())}"
        ) from None
    return norm.train()
