import math
from dataclasses import asdict

import pytest
import torch
from torch import nn

from era8 import Recipe, Session8Net, fit, make_model
from era8.optim import Muon, make_optimizer, one_cycle, orthogonalise
from era8.recipe import OPTIMIZERS

SHAPES = [(16, 3, 3, 3), (32, 16, 3, 3), (16, 32, 1, 1), (40, 8, 1, 1)]


@pytest.fixture
def matrices():
    torch.manual_seed(0)
    return [torch.randn(shape) for shape in SHAPES]


def test_singular_values_come_near_one_and_directions_stay(matrices):
    for matrix, result in zip(matrices, orthogonalise(matrices), strict=True):
        rows, columns = len(matrix), matrix[0].numel()
        u, _, v = torch.linalg.svd(matrix.flatten(1), full_matrices=False)
        result = result.flatten(1) / max(1, rows / columns) ** 0.5
        values = u.T @ result @ v.T  # diagonal if the singular vectors are still the same
        assert values.diagonal().min() > 0.6 and values.diagonal().max() < 1.25
        assert (values - values.diagonal().diag()).abs().max() < 1e-3
        alone = orthogonalise([matrix])[0]
        torch.testing.assert_close(alone.flatten(1), result * max(1, rows / columns) ** 0.5)


def test_nothing_to_orthogonalise():
    assert orthogonalise([]) == []
    assert orthogonalise([torch.zeros(4, 2)])[0].equal(torch.zeros(4, 2))


def test_the_other_parameters_move_as_with_sgd():
    torch.manual_seed(0)
    start, grads = torch.randn(5), torch.randn(4, 5)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-2}
    optimizers = [
        Muon([], [ours], **settings),
        torch.optim.SGD([theirs], nesterov=True, **settings),
    ]
    for grad in grads:
        ours.grad, theirs.grad = grad.clone(), grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


def test_a_step_is_momentum_made_orthogonal(matrices):
    weights = nn.Parameter(torch.zeros(SHAPES[1]))
    optimizer = Muon([weights], [], lr=0.1, momentum=0.5)
    first, second = matrices[1], matrices[1].flip(0)
    for grad in (first, second):
        before, weights.grad = weights.detach().clone(), grad
        optimizer.step()
    wanted = orthogonalise([second + 0.5 * (0.5 * first + second)])[0]
    torch.testing.assert_close(before - weights, 0.1 * wanted)


def test_the_decay_of_a_step_is_in_the_gradient(matrices):
    """The first step by hand: Nesterov's momentum makes 1.9 times the gradient of it."""
    pairs = [(nn.Parameter(0.1 * torch.randn_like(m)), m) for m in (matrices[1], torch.randn(7))]
    (convolution, grad), (bias, bias_grad) = pairs
    wanted = []
    for (p, g), finish in zip(pairs, (lambda m: orthogonalise([m])[0], torch.clone), strict=True):
        before = p.detach().clone()
        wanted.append(before - 0.1 * finish(1.9 * (g + 0.5 * before)))
        p.grad = g.clone()
    Muon([convolution], [bias], 0.1, weight_decay=0.5).step()
    for (p, g), value in zip(pairs, wanted, strict=True):
        torch.testing.assert_close(p.detach(), value)
        assert p.grad.equal(g)


def test_scaled_gradients_make_the_same_steps_and_infinite_ones_none(matrices):
    scaler, results = torch.amp.GradScaler("cpu", init_scale=2.0**10), []
    for scaled in (False, True):
        weights, bias = nn.Parameter(matrices[1].clone()), nn.Parameter(torch.ones(7))
        optimizer = Muon([weights], [bias], 0.1, weight_decay=0.1)
        for factor in (1, math.inf, 2) if scaled else (1, 2):
            loss = factor * ((weights - matrices[1].flip(0)).square().sum() + bias.sum())
            if scaled:
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
            else:
                loss.backward()
                optimizer.step()
            optimizer.zero_grad()
        state = [optimizer.state[p]["momentum_buffer"] for p in (weights, bias)]
        results.append([weights.detach(), bias.detach(), *state])
    assert all(a.equal(b) for a, b in zip(*results, strict=True))
    assert scaler.get_scale() == 2.0**9  # halved by the step that was none


@pytest.mark.parametrize(
    ("name", "kind"), [("muon", Muon), ("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)]
)
def test_an_optimizer_is_chosen_by_its_name(name, kind):
    model = Session8Net()
    nn.utils.parametrizations.weight_norm(model.C5[0])  # its weight is computed from parameters
    recipe = Recipe(optimizer=name, lr=0.3, weight_decay=0.01, momentum=0.8)
    optimizer = make_optimizer(model, recipe)
    assert type(optimizer) is kind
    given = [p for group in optimizer.param_groups for p in group["params"]]
    assert sorted(map(id, given)) == sorted(map(id, model.parameters()))
    for group in optimizer.param_groups:
        assert (group["lr"], group["weight_decay"]) == (0.3, 0.01)
        assert 0.8 in (group.get("momentum"), group.get("betas", [None])[0])


def test_an_optimizer_has_a_learning_rate_and_a_decay_of_its_own():
    for name, own in OPTIMIZERS.items():
        recipe = Recipe(optimizer=name)
        assert {"lr": recipe.lr, "weight_decay": recipe.weight_decay} == own
        assert Recipe(optimizer=name, lr=own["lr"]) == recipe == Recipe(**asdict(recipe))
    assert Recipe().lr == 0.05 and Recipe().weight_decay == 1e-4  # which name the folders


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_first_step_that_overflows_is_left_out(data, name, precision, recwarn):
    """A scaler that begins too high leaves steps out; no state is made of what memory held."""
    torch.manual_seed(0)
    recipe = Recipe(1, batch_size=8, optimizer=name, precision=precision, max_shift=0)
    model = make_model("deep", "bn", True, 1)
    record = fit(model, data.take(64), recipe, log=lambda line: None)
    assert record.train_loss < 4 and all(p.isfinite().all() for p in model.parameters())
    assert not [str(w.message) for w in recwarn if "scheduler" in str(w.message)]


def test_sgd_that_skips_its_first_step_begins_from_nothing():
    p = nn.Parameter(torch.ones(1000))
    optimizer = make_optimizer(nn.ParameterList([p]), Recipe(optimizer="sgd", weight_decay=0))
    scaler = torch.amp.GradScaler("cpu")
    for factor in (math.inf, 1):
        scaler.scale(factor * p.sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    torch.testing.assert_close(p.detach(), torch.full((1000,), 1 - 0.1 * 1.9))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_weight_that_two_layers_share_makes_one_step(name):
    model = nn.Sequential(*(nn.Conv2d(4, 4, 1, bias=False) for _ in range(3)))
    model[1].weight = model[0].weight
    optimizer = make_optimizer(model, Recipe(optimizer=name, lr=0.1, weight_decay=0))
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 2
    before = model[0].weight.detach().clone()
    model(torch.randn(2, 4, 8, 8)).square().sum().backward()
    grad = model[0].weight.grad.clone()
    optimizer.step()
    step = (before - model[0].weight.detach()) / 0.1
    wanted = {"muon": orthogonalise([grad])[0], "sgd": 1.9 * grad, "adamw": grad.sign()}[name]
    torch.testing.assert_close(step, wanted, rtol=1e-4, atol=1e-4)


def test_the_size_of_the_gradient_does_not_matter(matrices):
    results = []
    for scale in (1, 1000):
        weights = nn.Parameter(torch.zeros(SHAPES[0]))
        weights.grad = scale * matrices[0]
        Muon([weights], [], lr=0.1).step()
        results.append(weights.detach())
    torch.testing.assert_close(*results)


def test_a_parameter_without_a_gradient_stays():
    weights = nn.Parameter(torch.ones(2, 2))
    Muon([weights], [], lr=0.1).step()
    assert weights.equal(torch.ones(2, 2))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_learning_rate_rises_and_falls_to_nearly_zero(optimizer):
    recipe = Recipe(epochs=4, batch_size=10, warmup=0.25, optimizer=optimizer)
    optimizer = make_optimizer(Session8Net(), recipe)
    schedule, lrs = one_cycle(optimizer, recipe, n_images=95), []
    for _ in range(4 * 10):
        lrs.append(schedule.get_last_lr())
        optimizer.step()
        schedule.step()
    assert all(len(set(row)) == 1 for row in lrs)  # the same for all parameters
    lrs = [row[0] for row in lrs]
    top = lrs.index(max(lrs))
    assert math.isclose(lrs[top], recipe.lr, rel_tol=0.1) and 8 <= top <= 11
    assert lrs[: top + 1] == sorted(lrs[: top + 1]) and lrs[top:] == sorted(lrs[top:])[::-1]
    assert 0 <= lrs[-1] < 0.1 * recipe.lr


@pytest.mark.parametrize("n_steps", [2, 3, 11, 48, 351])
def test_a_warmup_of_a_single_step(n_steps):
    """OneCycleLR divides by what is left of it beside that step: nothing."""
    recipe = Recipe(epochs=1, batch_size=1, warmup=1 / (n_steps + 1))
    optimizer = make_optimizer(Session8Net(), recipe)
    schedule, lrs = one_cycle(optimizer, recipe, n_images=n_steps), []
    for _ in range(n_steps):
        lrs.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert lrs[0] < lrs[1] <= recipe.lr and lrs[1:] == sorted(lrs[1:])[::-1]
