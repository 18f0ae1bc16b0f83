"""What a GPU would be given, seen without one: CUDA tensors that have no memory behind them."""

import itertools
import re
from collections import Counter

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from era8 import Recipe, fit
from era8.data import Data, Split, normalise
from era8.data.load import _channels
from era8.device import PRECISIONS
from era8.models import MODELS, make_model
from era8.norms import NORMS

NORM_LAYERS = nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm
CASES = [  # each two of them meet; the fused steps are torch's own and have no fake
    (model, norm, [*PRECISIONS][(i + j) % 3])
    for (i, model), (j, norm) in itertools.product(enumerate(MODELS), enumerate(NORMS))
]


class Watch(TorchDispatchMode):
    """Notes each copy from one device to another: a GPU is waited for, in both directions.

    What else waits, ``item`` or ``nonzero``, raises by itself: a fake tensor has no values. It also
    counts what a GPU is asked to compute.
    """

    def __init__(self):
        super().__init__()
        self.crossings, self.operations = [], 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves((args, kwargs, result)) if isinstance(x, torch.Tensor)]
        if "copy" in operation.__name__ and len({x.device for x in tensors}) > 1:
            self.crossings.append(operation.__name__)
        made = any(x.device.type == "cuda" and x.numel() for x in tensors)
        free = operation.is_view or re.search("^prim|empty|_unsafe_view", str(operation))
        self.operations += made and not free
        return result


class HostGenerator(torch.Generator):
    """The CPU's, whichever is asked for."""

    def __new__(cls, device):
        return super().__new__(cls)


def backward(loss):
    """Call the derivatives one by one; the engine that does it asks the driver for its devices."""
    parents, queue = Counter(), [loss.grad_fn]
    while queue:
        following = [f for f, _ in queue.pop().next_functions if f]
        queue += [f for f in following if f not in parents]
        parents.update(following)
    grads, ready = {loss.grad_fn: {0: torch.ones_like(loss)}}, [loss.grad_fn]
    while ready:
        node = ready.pop()
        given = grads.pop(node, {})
        if hasattr(node, "variable"):
            node.variable.grad = given[0].detach().sum_to_size(node.variable.shape)
            continue
        results = node(*(given.get(i) for i in range(len(node._input_metadata))))
        results = results if isinstance(results, tuple) else (results,)
        for (other, i), grad in zip(node.next_functions, results, strict=True):
            if other:
                sums = grads.setdefault(other, {})
                if grad is not None:
                    sums[i] = sums[i] + grad if i in sums else grad
                parents[other] -= 1
                ready += [other] if not parents[other] else []


@pytest.fixture
def gpu(monkeypatch):
    """A machine that seems to have a GPU; its tensors are to be made in this mode."""
    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "fake")
    monkeypatch.setattr("torch.Generator", HostGenerator)
    monkeypatch.setattr("torch.Tensor.backward", backward)
    yield FakeTensorMode(allow_non_fake_inputs=True)  # the first weights are those of the CPU
    _channels.cache_clear()


def run_epoch(model, precision, steps=2):
    """Train for the steps of an epoch; return what crossed, and the operations up to each step.

    At its end ``fit`` asks for the losses, which are no numbers.
    """
    device, seen, counts, done = torch.device("cuda:0"), Watch(), [], []
    images = torch.empty(steps * 20, 3, 32, 32, dtype=torch.uint8, device=device)
    split = Split(images, torch.empty(len(images), dtype=torch.long, device=device))
    normalise(images)  # the first call copies mean and spread

    def watch(log, batches, *_):
        with seen:
            for batch in batches:
                counts.append(seen.operations)
                yield batch
        done.append(True)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(DataDependentOutputException):
        patch.setattr("era8.progress.ProgressLog.watch", watch)
        patch.setattr("era8.train._check_outputs", lambda *_: None)  # looks at numbers, once
        patch.setattr(Data, "check", lambda _: None)  # likewise
        patch.setattr("era8.train.fingerprint", lambda *_: {})  # likewise
        recipe = Recipe(1, batch_size=20, precision=precision, limits=False)
        fit(model, Data(split, split, "synthetic", "none"), recipe)
    assert done, "a step waits for a value"
    return seen.crossings, counts


@pytest.mark.parametrize(("name", "norm", "precision"), CASES)
def test_a_step_stays_on_the_device_and_in_its_precision(gpu, name, norm, precision):
    model = make_model(name, norm)
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | NORM_LAYERS)]
    for layer in layers:

        @layer.register_forward_hook
        def look(layer, args, output):
            assert output.dtype == PRECISIONS[precision]
            if norm != "ln_chw" and precision != "bf16":  # bf16 asks the driver for its order
                assert output.is_contiguous(memory_format=torch.channels_last)

    with gpu:
        assert run_epoch(model, precision)[0] == []
    for p in model.parameters():
        assert p.device.type == "cuda" and p.dtype == torch.float32


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_step_has_at_most_200_operations(gpu, precision):
    """A GPU would rather compute than be told what: a small network's steps wait for launches."""
    model = make_model("session8")
    with gpu:
        _, (_, first, second) = run_epoch(model, precision, 3)
    assert 100 < second - first <= 200  # the first step makes the optimizer's state too


def test_what_waits_is_seen(gpu):
    for spoil in (lambda x: x.sum().item(), lambda x: x.nonzero(), lambda x: x + torch.ones(10)):
        model = make_model("session8")
        model.c11.register_forward_hook(lambda layer, args, output, spoil=spoil: spoil(output))
        with gpu, pytest.raises((AssertionError, RuntimeError, TypeError)):
            run_epoch(model, "bf16")
    model = make_model("session8")
    model.c11.register_forward_hook(lambda layer, args, output: output.cpu().cuda(0))
    with gpu:
        assert set(run_epoch(model, "bf16")[0]) == {"_to_copy.default"}
