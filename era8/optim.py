"""How weights are changed: the optimizers and the schedule of the learning rate."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from era8.blocks import hidden_layers
from era8.recipe import Recipe


class Muon(torch.optim.Optimizer):
    """SGD with Nesterov momentum, whose step for a weight matrix is made orthogonal.

    All directions that the momentum has found are then gone along equally far, where SGD follows
    the few steepest ones (Jordan 2024, kellerjordan.github.io/posts/muon). A convolution's weight
    counts as the matrix (out_channels, in_channels * height * width). ``torch.optim.Muon`` takes
    matrices only, one at a time, and in bfloat16, which many CPUs do not have.

    Args:
        matrices: weights of two dimensions or more, whose steps are made orthogonal.
        others: parameters that plain SGD changes: norms, and the layer that makes the logits.
        lr: learning rate, like momentum and weight decay of both.
        momentum: with Nesterov's correction.
        weight_decay: factor of the L2 penalty.
    """

    def __init__(
        self,
        matrices: Sequence[Tensor],
        others: Sequence[Tensor],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
    ) -> None:
        groups: list[dict[str, Any]] = [
            {"params": list(matrices), "orthogonal": True},
            {"params": list(others), "orthogonal": False},
        ]
        self._step_supports_amp_scaling = True  # a GradScaler sets grad_scale and found_inf, below
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Change all parameters that have a gradient.

        With a GradScaler gradients are scaled, and a step is undone if one of them is not finite:
        to ask the GPU beforehand would be a wait in each step.
        """
        found_inf: Any = getattr(self, "found_inf", None)
        scale = getattr(self, "grad_scale", None)
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            for p in params:
                if not self.state[p]:
                    self.state[p]["momentum_buffer"] = torch.zeros_like(p)
            buffers = [self.state[p]["momentum_buffer"] for p in params]
            undone = [] if found_inf is None else params + buffers
            changed = [_in_memory_order(t) for t in undone]
            before = torch.cat([t.flatten() for t in changed]) if changed else None
            decay, momentum = group["weight_decay"], group["momentum"]
            given = [p.grad for p in params]
            grads = tuple(given) if scale is None else torch._foreach_div(given, scale)
            grads = torch._foreach_add(grads, params, alpha=decay)
            torch._foreach_mul_(buffers, momentum)
            torch._foreach_add_(buffers, grads)
            torch._foreach_add_(grads, buffers, alpha=momentum)
            steps = orthogonalise(grads) if group["orthogonal"] else grads
            torch._foreach_add_(params, steps, alpha=-group["lr"])
            if before is not None:
                after = torch.cat([t.flatten() for t in changed])
                kept = torch.where(found_inf > 0, before, after).split([t.numel() for t in changed])
                torch._foreach_copy_(
                    changed, [k.view(t.shape) for k, t in zip(kept, changed, strict=True)]
                )


def orthogonalise(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Return, for each matrix, nearly the closest one with orthonormal rows or columns.

    Newton and Schulz's iteration with Jordan's coefficients: it brings all singular values to
    between 0.7 and 1.2 in five steps. Matrices (rows, ...), of which all but the first dimension
    count as columns, are worked on at once if their shorter sides are equal, the longer ones padded
    by zeros, which the iteration leaves as they are.
    """
    alike: dict[int, list[int]] = {}
    for i, matrix in enumerate(matrices):
        alike.setdefault(min(_size(matrix.shape)), []).append(i)
    results = dict[int, Tensor]()
    for short, indices in alike.items():
        shapes = [matrices[i].shape for i in indices]
        x = matrices[0].new_zeros(len(indices), max(max(_size(s)) for s in shapes), short)
        torch._foreach_copy_(_unpad(x, shapes), [matrices[i] for i in indices])
        x /= x.norm(dim=(1, 2), keepdim=True) + 1e-7  # (matrices, long, short)
        for _ in range(5):
            a = torch.bmm(x.mT, x)  # (matrices, short, short)
            a = torch.baddbmm(a, a, a, beta=-4.7750, alpha=2.0315)
            x = torch.baddbmm(x, x, a, beta=3.4445)
        for i, step in zip(indices, _unpad(x, shapes), strict=True):
            rows, columns = _size(step.shape)
            results[i] = step if rows <= columns else step * (rows / columns) ** 0.5
    return [results[i] for i in range(len(matrices))]


def _size(shape: torch.Size) -> tuple[int, int]:
    """Return the rows and the columns of a weight's matrix."""
    return shape[0], shape[1:].numel()


def _unpad(x: Tensor, shapes: Sequence[torch.Size]) -> list[Tensor]:
    """Return views of padded matrices (matrices, long, short), each in the shape of its weight."""
    views = []
    for matrix, shape in zip(x, shapes, strict=True):
        rows, columns = _size(shape)
        part = matrix[: max(rows, columns)]
        views.append((part.mT if rows <= columns else part).unflatten(1, shape[1:]))
    return views


def _in_memory_order(tensor: Tensor) -> Tensor:
    """Return a view whose dimensions are in the order of memory: to flatten it copies nothing."""
    return tensor.permute(sorted(range(tensor.dim()), key=tensor.stride, reverse=True))


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the optimizer of a recipe, for all parameters of a model.

    The steps that Muon makes orthogonal are those of :func:`era8.blocks.hidden_layers`. SGD has
    Nesterov's correction too; AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) takes the
    momentum as its first beta.
    """
    given: dict[str, Any] = {"lr": recipe.lr, "weight_decay": recipe.weight_decay}
    if recipe.optimizer == "muon":
        hidden = {id(layer.weight) for layer in hidden_layers(model)}
        matrices = [p for p in model.parameters() if id(p) in hidden]  # not what a layer computes
        others = [p for p in model.parameters() if id(p) not in hidden]
        return Muon(matrices, others, momentum=recipe.momentum, **given)
    params = list(model.parameters())
    fused = params[0].device.type in ("cpu", "cuda")
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(params, betas=(recipe.momentum, 0.999), fused=fused, **given)
    sgd = torch.optim.SGD(params, momentum=recipe.momentum, nesterov=True, fused=fused, **given)
    for p in params:  # a first step that is left out, as of fp16, would leave them as memory was
        sgd.state[p]["momentum_buffer"] = torch.zeros_like(p)
    return sgd


def one_cycle(optimizer: torch.optim.Optimizer, recipe: Recipe, n_images: int) -> OneCycleLR:
    """Return the schedule of the learning rate: up, then down to nearly zero, in straight lines."""
    total, warmup = recipe.epochs * math.ceil(n_images / recipe.batch_size) + 1, recipe.warmup
    if math.isclose(warmup * total, 1):  # OneCycleLR divides by the difference
        warmup = (1 + 1e-9) / total
    return OneCycleLR(
        optimizer, recipe.lr, total_steps=total, pct_start=warmup,
        anneal_strategy="linear", cycle_momentum=False,
    )  # fmt: skip
