"""The reference networks for torch.hub: session8 and dilated, with norm bn, gn or ln."""

from torch import nn

from era8.pretrained import load_pretrained

dependencies = ["torch", "numpy", "filelock", "tqdm"]


def session8(norm: str = "bn") -> nn.Module:
    """Return the assignment's network, trained for 19 epochs with ``bn``, ``gn`` or ``ln``."""
    return load_pretrained("session8", norm)


def dilated(norm: str = "bn") -> nn.Module:
    """Return the most accurate network, likewise."""
    return load_pretrained("dilated", norm)
