"""The network of the assignment, variants of it, and the most accurate one under its limits."""

from collections.abc import Callable

from torch import Tensor, nn

from era8.blocks import ConvBlock, SeparableBlock, Transition, hidden_layers
from era8.norms import make_norm


class Session8Net(nn.Module):
    """C1 C2 c3 P1 C4 C5 C6 c7 P2 C8 C9 C10 GAP c11, with two skips: 22,672 parameters.

    Capital C is a 3x3 convolution with ReLU and a norm, small c a 1x1 convolution, P a 2x2 max
    pool, GAP the global average pool. A skip adds the input of a stage to its output; it has no
    parameters, so the network has as many with skips as without.

    Args:
        norm: see :func:`era8.make_norm`.
        skip: whether the second and the third stage add their input to their output.
        groups: number of groups of ``gn``; must divide 16 and 32.
        init: how the first weights are drawn: ``torch``, as the layers themselves do it, or
            ``he``, normal with variance 2 / fan_in but for the last layer's, with which ReLUs keep
            the scale of the maps from layer to layer (He et al. 2015, arXiv 1502.01852, Eq. 10);
            torch's own have a sixth of that variance.

    Raises:
        ValueError: if the norm or the init is unknown, the groups do not divide the channels, or
            ``skip`` is no bool.
    """

    norm_first = False  # in a block, before the ReLU

    def __init__(
        self, norm: str = "bn", skip: bool = True, groups: int = 2, init: str = "torch"
    ) -> None:
        """Make the network with freshly drawn weights."""
        super().__init__()
        _check_skip(skip)
        self.norm, self.skip, self.groups = norm, skip, groups

        def conv(in_channels: int, out_channels: int, size: int) -> ConvBlock:
            return ConvBlock(in_channels, out_channels, norm, groups, size, self.norm_first)

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
        self.init = _draw_weights(self, init)

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


class NormFirstNet(Session8Net):
    """Session8Net with the norm of each block before its ReLU, as most networks have it."""

    norm_first = True


class DeepSession8Net(Session8Net):
    """Session8Net with its third stage four times over: 20 convolutions, 43,696 parameters.

    Each of the four has a skip of its own. Arguments and errors are those of Session8Net.
    """

    def __init__(
        self, norm: str = "bn", skip: bool = True, groups: int = 2, init: str = "torch"
    ) -> None:
        """Make the network with freshly drawn weights."""
        super().__init__(norm, skip, groups)
        last = self.GAP, self.c11
        del self.GAP, self.c11
        self.more = nn.ModuleList(
            nn.Sequential(*(ConvBlock(16, 16, norm, groups, 8) for _ in range(3))) for _ in range(3)
        )
        self.GAP, self.c11 = last  # still the last of all layers
        self.init = _draw_weights(self, init)

    def features(self, images: Tensor) -> Tensor:
        """Return what the last stage makes of the images, (N, 16, 8, 8)."""
        x = super().features(images)
        for stage in self.more:
            x = stage(x) + x if self.skip else stage(x)
        return x


class SeparableNet(nn.Module):
    """Eight residual blocks of separable convolutions: 48,634 parameters.

    ============  ==================================  ============
    layer         what it is                          its output
    ============  ==================================  ============
    stem          3x3 convolution, norm, ReLU         32 x 32 x 32
    stage1        2 x (x + SeparableBlock(x))         32 x 32 x 32
    transition1   1x1 convolution, 2x2 max pool, norm 56 x 16 x 16
    stage2        4 x (x + SeparableBlock(x))         56 x 16 x 16
    transition2   1x1 convolution, 2x2 max pool, norm 96 x 8 x 8
    stage3        2 x (x + SeparableBlock(x))         96 x 8 x 8
    GAP, head     ReLU, mean over pixels, linear      10
    ============  ==================================  ============

    Arguments and errors are those of Session8Net; without skips a block replaces its input.
    """

    def __init__(
        self, norm: str = "bn", skip: bool = True, groups: int = 2, init: str = "torch"
    ) -> None:
        """Make the network with freshly drawn weights."""
        super().__init__()
        _check_skip(skip)
        self.norm, self.skip, self.groups = norm, skip, groups

        def stage(blocks: int, channels: int, size: int) -> nn.ModuleList:
            return nn.ModuleList(
                SeparableBlock(channels, norm, groups, size) for _ in range(blocks)
            )

        def transition(in_channels: int, out_channels: int, size: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False),
                nn.MaxPool2d(2),
                make_norm(norm, out_channels, groups, size),
            )

        self.stem = nn.Sequential(
            nn.Conv2d(3, 32, kernel_size=3, padding=1, bias=False),
            make_norm(norm, 32, groups, 32),
            nn.ReLU(inplace=True),
        )
        self.stage1 = stage(2, 32, 32)
        self.transition1 = transition(32, 56, 16)
        self.stage2 = stage(4, 56, 16)
        self.transition2 = transition(56, 96, 8)
        self.stage3 = stage(2, 96, 8)
        self.GAP = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(96, 10)
        self.init = _draw_weights(self, init)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 10) of normalised images (N, 3, 32, 32)."""
        x = self._run(self.stage1, self.stem(images))  # (N, 32, 32, 32)
        x = self._run(self.stage2, self.transition1(x))  # (N, 56, 16, 16)
        x = self._run(self.stage3, self.transition2(x))  # (N, 96, 8, 8)
        return self.head(self.GAP(x.relu()).flatten(1))

    def _run(self, stage: nn.ModuleList, x: Tensor) -> Tensor:
        for block in stage:
            x = x + block(x) if self.skip else block(x)
        return x


def _check_skip(skip: bool) -> None:
    if not isinstance(skip, bool):  # papermill's -p skip false is the string "false"
        raise ValueError(f"skip must be True or False; got {skip!r}")


def _draw_weights(model: nn.Module, init: str) -> str:
    """Draw the weights of a new model anew, unless they are to be torch's; return the init."""
    if init not in INITS:
        raise ValueError(f"init must be one of {', '.join(INITS)}; got {init!r}")
    if init == "he":
        for layer in hidden_layers(model):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return init


INITS = ("torch", "he")
MODELS: dict[str, Callable[..., nn.Module]] = {  # by the name that a run asks for
    "session8": Session8Net,
    "norm_first": NormFirstNet,
    "deep": DeepSession8Net,
    "separable": SeparableNet,
}


def make_model(
    name: str, norm: str = "bn", skip: bool = True, groups: int = 2, init: str = "torch"
) -> nn.Module:
    """Make a network, with freshly drawn weights, by its name in ``MODELS``.

    Raises:
        ValueError: if there is none of that name, or as :class:`Session8Net`.
    """
    if not isinstance(name, str) or name not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}; got {name!r}")
    return MODELS[name](norm, skip, groups, init)
