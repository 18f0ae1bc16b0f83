import pytest
import torch

from era8 import make_norm
from era8.norms import EPS, NORMS

KINDS = ("bn", "gn", "ln")


def by_hand(kind, x, groups=4):
    """The formula of each norm, written out over its axes, in double precision."""
    x = x.double()
    if kind == "bn":
        grouped, axes = x, (0, 2, 3)
    elif kind == "gn":
        grouped, axes = x.unflatten(1, (groups, -1)), (2, 3, 4)
    else:
        grouped, axes = x, (1, 2, 3)
    centred = grouped - grouped.mean(axes, keepdim=True)
    variance = centred.square().mean(axes, keepdim=True)
    return (centred / (variance + 1e-5).sqrt()).view_as(x)


@pytest.fixture
def x():
    return 3 * torch.randn(6, 16, 5, 7, generator=torch.Generator().manual_seed(0)) + 2


@pytest.mark.parametrize("groups", [1, 2, 4])  # 16, 8 and 4 channels in a group
def test_group_norm_of_bfloat16(x, groups):
    half = x.bfloat16().contiguous(memory_format=torch.channels_last)
    wanted = by_hand("gn", half, groups).bfloat16()
    torch.testing.assert_close(make_norm("gn", 16, groups)(half), wanted, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kind", NORMS)
def test_precision_and_order_of_memory_are_handed_on(x, kind, layout):
    norm, maps = make_norm(kind, 16, size=5), x[..., :5].contiguous(memory_format=layout)
    for given in (maps, maps.bfloat16()):
        result = norm(given)
        assert result.dtype == given.dtype
        assert result.is_contiguous(memory_format=layout) or kind == "ln_chw"


@pytest.mark.parametrize("kind", KINDS)
def test_equals_its_formula_in_training(kind, x):
    norm = make_norm(kind, 16, groups=4)
    torch.testing.assert_close(norm(x).double(), by_hand(kind, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_scale_and_shift_are_per_channel(kind, x):
    norm = make_norm(kind, 16, groups=4)
    scale, shift = torch.rand(16) + 0.5, torch.randn(16)
    with torch.no_grad():
        norm.weight.copy_(scale)
        norm.bias.copy_(shift)
    expected = by_hand(kind, x) * scale[:, None, None] + shift[:, None, None]
    torch.testing.assert_close(norm(x).double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ("gn", "ln"))
def test_gn_and_ln_are_the_same_in_evaluation(kind, x):
    norm = make_norm(kind, 16, groups=4)
    assert torch.equal(norm.eval()(x), norm.train()(x))


def test_bn_uses_running_statistics_in_evaluation(x):
    norm = make_norm("bn", 16)
    norm(x)
    mean = 0.1 * x.mean((0, 2, 3))  # PyTorch's running average starts at 0 and takes a tenth
    variance = 0.9 + 0.1 * x.var((0, 2, 3), correction=1)
    other = torch.randn(2, 16, 5, 7)
    expected = (other - mean.view(-1, 1, 1)) / (variance.view(-1, 1, 1) + 1e-5).sqrt()
    torch.testing.assert_close(norm.eval()(other), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "mixes"), [("bn", True), ("gn", False), ("ln", False)])
def test_only_bn_mixes_the_images_of_a_batch(kind, mixes, x):
    norm = make_norm(kind, 16, groups=4)
    changed = x.clone()
    changed[0] += torch.randn_like(changed[0])
    assert torch.allclose(norm(x)[1:], norm(changed)[1:]) is not mixes
    norm.eval()
    assert torch.equal(norm(x)[1:], norm(changed)[1:])


def test_all_kinds_have_the_same_parameters_and_eps():
    norms = [make_norm(kind, 16, groups=4) for kind in KINDS]
    assert {sum(p.numel() for p in norm.parameters()) for norm in norms} == {32}
    assert {norm.eps for norm in norms} == {EPS} == {1e-5}


def test_none_changes_nothing(x):
    assert make_norm("none", 16)(x) is x


def test_unknown_kind():
    names = "bn, gn, ln, none, ln_c, ln_chw, module:Class of your own"
    with pytest.raises(ValueError, match=f"norm must be one of {names}; got 'bm'"):
        make_norm("bm", 16)


@pytest.mark.parametrize("groups", [0, -2, 3, 32, "2", 2.0, True])
def test_groups_must_divide_the_channels(groups):
    with pytest.raises(ValueError, match=f"groups must be a whole .*; got {groups!r}"):
        make_norm("gn", 16, groups)


def test_the_other_layer_norms(x):
    other = make_norm("ln_c", 16)
    expected = x.permute(0, 2, 3, 1).flatten(0, 2)[:, :, None, None]  # a pixel as an image
    expected = by_hand("ln", expected).view(6, 5, 7, 16).permute(0, 3, 1, 2)
    torch.testing.assert_close(other(x).double(), expected, rtol=1e-4, atol=1e-5)
    assert other.weight.shape == (16,)
    square = x[..., :5]
    other = make_norm("ln_chw", 16, size=5)
    torch.testing.assert_close(other(square).double(), by_hand("ln", square), rtol=1e-4, atol=1e-5)
    assert other.weight.shape == (16, 5, 5)


@pytest.mark.parametrize("size", [0, -1, "8", None])
def test_maps_of_no_size(size):
    with pytest.raises(ValueError, match="size must be a whole number of at least 1; got"):
        make_norm("ln_chw", 16, size=size)
