"""The blocks that the networks are made of."""

from torch import nn

from era8.norms import make_norm


def hidden_layers(model: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """Return all convolutions and linear layers but the last, which makes the logits."""
    return [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)][:-1]


class ConvBlock(nn.Sequential):
    """A 3x3 convolution without bias, ReLU and a norm: (N, in, H, W) to (N, out, H, W).

    With ``norm_first`` the norm comes before the ReLU.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        norm: str,
        groups: int,
        size: int,
        norm_first: bool = False,
    ) -> None:
        """Make the block; ``norm``, ``groups`` and ``size`` are those of :func:`make_norm`."""
        after = [nn.ReLU(inplace=True), make_norm(norm, out_channels, groups, size)]
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
            *(reversed(after) if norm_first else after),
        )


class Transition(nn.Sequential):
    """A 1x1 convolution without bias and ReLU: mixes channels, sees no neighbours."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        """Make the transition: (N, in_channels, H, W) to (N, out_channels, H, W)."""
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False),
            nn.ReLU(inplace=True),
        )


class SeparableBlock(nn.Sequential):
    """A depthwise 3x3 convolution, norm, ReLU, a 1x1 convolution, norm: (N, C, H, W) to the same.

    The first looks around in each channel, the second mixes the channels: together they have
    C (9 + C) weights, where a 3x3 convolution has 9 C^2 (Howard et al. 2017, arXiv 1704.04861).
    """

    def __init__(self, channels: int, norm: str, groups: int, size: int) -> None:
        """Make the block; ``norm``, ``groups`` and ``size`` are those of :func:`make_norm`."""
        super().__init__(
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, groups=channels, bias=False),
            make_norm(norm, channels, groups, size),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, kernel_size=1, bias=False),
            make_norm(norm, channels, groups, size),
        )
