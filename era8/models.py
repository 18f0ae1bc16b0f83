"""The network of the assignment, variants of it, and the most accurate one under its limits."""

from torch import Tensor, nn

from era8.blocks import ConvBlock, SeparableBlock, Transition, hidden_layers
from era8.checks import check_int, flag, one_of, own_class
from era8.norms import make_norm

INITS = ("torch", "he")


class Network(nn.Module):
    """What all networks share: their arguments, and how they are initialised.

    Args:
        norm: see :func:`era8.make_norm`.
        skip: whether stages add their input to their output. A skip has no parameters, so a network
            has as many with skips as without.
        groups: number of groups of ``gn``; must divide the channels.
        init: ``torch``, as the layers themselves do it, or ``he``, normal with variance 2 / fan_in
            but for the last layer's, with which ReLUs keep the scale of the maps from layer to
            layer (He et al. 2015, arXiv 1502.01852, Eq. 10); torch's own have a sixth of that.

    Raises:
        ValueError: if an argument is none of these.
    """

    def __init__(
        self, norm: str = "bn", skip: bool = True, groups: int = 2, init: str = "torch"
    ) -> None:
        super().__init__()
        self.norm = str(norm) if isinstance(norm, str) else norm  # numpy's text would be no norm
        self.skip = flag("skip", skip)
        self.groups, self.init = check_int("groups", groups, 1), one_of("init", init, INITS)
        self._build()
        if init == "he":
            for layer in hidden_layers(self):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def _build(self) -> None:
        """Make the layers; each network has its own."""

    def _norm(self, channels: int, size: int) -> nn.Module:
        return make_norm(self.norm, channels, self.groups, size)


class Session8Net(Network):
    """C1 C2 c3 P1 C4 C5 C6 c7 P2 C8 C9 C10 GAP c11, with two skips: 22,672 parameters.

    Capital C is a 3x3 convolution with ReLU and a norm, small c a 1x1 convolution, P a 2x2 max
    pool, GAP the global average pool. The second and the third stage have a skip.
    """

    norm_first = False  # in a block, before the ReLU

    def _conv(self, in_channels: int, out_channels: int, size: int) -> ConvBlock:
        return ConvBlock(in_channels, out_channels, self._norm(out_channels, size), self.norm_first)

    def _build(self) -> None:
        self.C1 = self._conv(3, 16, 32)
        self.C2 = self._conv(16, 32, 32)
        self.c3 = Transition(32, 16)
        self.P1 = nn.MaxPool2d(2)
        self.C4 = self._conv(16, 16, 16)
        self.C5 = self._conv(16, 16, 16)
        self.C6 = self._conv(16, 32, 16)
        self.c7 = Transition(32, 16)
        self.P2 = nn.MaxPool2d(2)
        self.C8 = self._conv(16, 16, 8)
        self.C9 = self._conv(16, 16, 8)
        self.C10 = self._conv(16, 16, 8)
        self.GAP = nn.AdaptiveAvgPool2d(1)
        self.c11 = nn.Conv2d(16, 10, kernel_size=1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 10) of normalised images (N, 3, 32, 32)."""
        return self.c11(self.GAP(self.features(images))).flatten(1)

    def features(self, images: Tensor) -> Tensor:
        """Return what the last stage makes of the images, (N, 16, 8, 8)."""
        stage1 = self.P1(self.c3(self.C2(self.C1(images))))  # (N, 16, 16, 16)
        x = self.c7(self.C6(self.C5(self.C4(stage1))))
        stage2 = self.P2(x + stage1 if self.skip else x)  # (N, 16, 8, 8)
        x = self.C10(self.C9(self.C8(stage2)))
        return x + stage2 if self.skip else x


class NormFirstNet(Session8Net):
    """Session8Net with the norm of each block before its ReLU, as most networks have it."""

    norm_first = True


class DeepSession8Net(Session8Net):
    """Session8Net with its third stage four times over, each with a skip: 43,696 parameters."""

    def _build(self) -> None:
        super()._build()
        last = self.GAP, self.c11
        del self.GAP, self.c11
        self.more = nn.ModuleList(
            nn.Sequential(*(self._conv(16, 16, 8) for _ in range(3))) for _ in range(3)
        )
        self.GAP, self.c11 = last  # still the last of all layers

    def features(self, images: Tensor) -> Tensor:
        """Return what the last stage makes of the images, (N, 16, 8, 8)."""
        x = super().features(images)
        for stage in self.more:
            x = stage(x) + x if self.skip else stage(x)
        return x


class SeparableNet(Network):
    """Eight blocks of separable convolutions, each with a skip: 48,634 parameters.

    Its stages have 2, 4 and 2 blocks, for maps of 32, 56 and 96 channels and 32, 16 and 8 pixels
    across; a 1x1 convolution, a pool and a norm lead from one to the next.
    """

    widths, depths = (32, 56, 96), (2, 4, 2)  # channels and blocks of each stage
    dilated = False  # every other block of a stage

    def _build(self) -> None:
        first, second, third = self.widths
        self.stem = nn.Sequential(
            nn.Conv2d(3, first, kernel_size=3, padding=1, bias=False),
            self._norm(first, 32),
            nn.ReLU(inplace=True),
        )
        self.stage1 = self._stage(self.depths[0], first, 32)
        self.transition1 = self._transition(first, second, 16)
        self.stage2 = self._stage(self.depths[1], second, 16)
        self.transition2 = self._transition(second, third, 8)
        self.stage3 = self._stage(self.depths[2], third, 8)
        self.GAP = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(third, 10)

    def _stage(self, blocks: int, channels: int, size: int) -> nn.Sequential:
        def block(number: int) -> SeparableBlock:
            norms = self._norm(channels, size), self._norm(channels, size)
            return SeparableBlock(channels, *norms, self.skip, self.dilated and number % 2 == 1)

        return nn.Sequential(*map(block, range(blocks)))

    def _transition(self, in_channels: int, out_channels: int, size: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False),
            nn.MaxPool2d(2),
            self._norm(out_channels, size),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 10) of normalised images (N, 3, 32, 32)."""
        x = self.stage1(self.stem(images))  # (N, widths[0], 32, 32)
        x = self.stage2(self.transition1(x))  # (N, widths[1], 16, 16)
        x = self.stage3(self.transition2(x))  # (N, widths[2], 8, 8)
        return self.head(self.GAP(x.relu()).flatten(1))


class DilatedNet(SeparableNet):
    """Ten such blocks, every other one of a stage dilated: 48,768 parameters.

    Its stages have 3, 5 and 2 blocks, for maps of 32, 54 and 88 channels and 32, 16 and 8 pixels
    across; a mean pool, a 1x1 convolution and a norm lead from one to the next.
    """

    widths, depths = (32, 54, 88), (3, 5, 2)
    dilated = True

    def _transition(self, in_channels: int, out_channels: int, size: int) -> nn.Sequential:
        return nn.Sequential(
            nn.AvgPool2d(2),
            nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False),
            self._norm(out_channels, size),
        )


MODELS: dict[str, type[Network]] = {  # by the name that a run asks for
    "session8": Session8Net,
    "norm_first": NormFirstNet,
    "deep": DeepSession8Net,
    "separable": SeparableNet,
    "dilated": DilatedNet,
}
TAKEN = {*MODELS, *(network.__name__ for network in MODELS.values())}  # by which runs are known


def make_model(
    name: str, norm: str = "bn", skip: bool = True, groups: int = 2, init: str = "torch"
) -> Network:
    """Make a network, with freshly drawn weights, by its name in ``MODELS``.

    Or of your own, by ``module:Class``: a subclass of :class:`Network`, such as of Session8Net. The
    module may lie in the current folder.

    Raises:
        ValueError: if there is no such network, or it cannot be made of these arguments.
    """
    if isinstance(name, str) and ":" in name:
        return own_class("model", name, Network, TAKEN)(norm, skip, groups, init)
    one_of("model", name, [*MODELS, "module:Class of your own"])
    return MODELS[name](norm, skip, groups, init)
