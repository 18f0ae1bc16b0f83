"""The network of the assignment, the two blocks that it is made of, and a deeper one."""

from torch import Tensor, nn

from era8.norms import make_norm


class ConvBlock(nn.Sequential):
    """A 3x3 convolution without bias, ReLU and a norm: (N, in, H, W) to (N, out, H, W)."""

    def __init__(
        self, in_channels: int, out_channels: int, norm: str, groups: int, size: int
    ) -> None:
        """Make the block; ``norm``, ``groups`` and ``size`` are those of :func:`make_norm`."""
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
            nn.ReLU(inplace=True),
            make_norm(norm, out_channels, groups, size),
        )


class Transition(nn.Sequential):
    """A 1x1 convolution without bias and ReLU: mixes channels, sees no neighbours."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        """Make the transition: (N, in_channels, H, W) to (N, out_channels, H, W)."""
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False),
            nn.ReLU(inplace=True),
        )


class Session8Net(nn.Module):
    """C1 C2 c3 P1 C4 C5 C6 c7 P2 C8 C9 C10 GAP c11, with two skips: 22,672 parameters.

    Capital C is a 3x3 convolution with ReLU and a norm, small c a 1x1 convolution, P a 2x2 max
    pool, GAP the global average pool. A skip adds the input of a stage to its output; it has no
    parameters, so the network has as many with skips as without.

    Args:
        norm: see :func:`era8.make_norm`.
        skip: whether the second and the third stage add their input to their output.
        groups: number of groups of ``gn``; must divide 16 and 32.

    Raises:
        ValueError: if the norm is unknown, the groups do not divide the channels, or ``skip`` is
            no bool.
    """

    def __init__(self, norm: str = "bn", skip: bool = True, groups: int = 2) -> None:
        """Make the network with freshly drawn weights."""
        super().__init__()
        if not isinstance(skip, bool):  # papermill's -p skip false is the string "false"
            raise ValueError(f"skip must be True or False; got {skip!r}")
        self.norm, self.skip, self.groups = norm, skip, groups

        def conv(in_channels: int, out_channels: int, size: int) -> ConvBlock:
            return ConvBlock(in_channels, out_channels, norm, groups, size)

        self.C1 = conv(3, 16, 32)
        self.C2 = conv(16, 32, 32)
        self.c3 = Transition(32, 16)
        self.P1 = nn.MaxPool2d(2)
        self.C4 = conv(16, 16, 16)
        self.C5 = conv(16, 16, 16)
        self.C6 = conv(16, 32, 16)
        self.c7 = Transition(32, 16)
        self.P2 = nn.MaxPool2d(2)
        self.C8 = conv(16, 16, 8)
        self.C9 = conv(16, 16, 8)
        self.C10 = conv(16, 16, 8)
        self.GAP = nn.AdaptiveAvgPool2d(1)
        self.c11 = nn.Conv2d(16, 10, kernel_size=1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 10) of normalised images (N, 3, 32, 32)."""
        return self.c11(self.GAP(self.features(images))).flatten(1)

    def features(self, images: Tensor) -> Tensor:
        """Return what the third stage makes of the images, (N, 16, 8, 8)."""
        x = self.c3(self.C2(self.C1(images)))  # (N, 16, 32, 32)
        stage1 = self.P1(x)  # (N, 16, 16, 16)
        x = self.c7(self.C6(self.C5(self.C4(stage1))))
        stage2 = self.P2(x + stage1 if self.skip else x)  # (N, 16, 8, 8)
        x = self.C10(self.C9(self.C8(stage2)))
        return x + stage2 if self.skip else x


class DeepSession8Net(Session8Net):
    """Session8Net with its third stage four times over: 20 convolutions, 43,696 parameters.

    Each of the four has a skip of its own. Arguments and errors are those of Session8Net.
    """

    def __init__(self, norm: str = "bn", skip: bool = True, groups: int = 2) -> None:
        """Make the network with freshly drawn weights."""
        super().__init__(norm, skip, groups)
        last = self.c11
        del self.c11
        self.more = nn.ModuleList(
            nn.Sequential(*(ConvBlock(16, 16, norm, groups, 8) for _ in range(3))) for _ in range(3)
        )
        self.c11 = last  # still the last of all parameters

    def features(self, images: Tensor) -> Tensor:
        """Return what the last stage makes of the images, (N, 16, 8, 8)."""
        x = super().features(images)
        for stage in self.more:
            x = stage(x) + x if self.skip else stage(x)
        return x


MODELS = {"session8": Session8Net, "deep": DeepSession8Net}  # by the name that a run asks for
