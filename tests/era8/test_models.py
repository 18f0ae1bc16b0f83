import numpy as np
import pytest
import torch
from support import make
from torch import nn

from era8 import Session8Net, make_model
from era8.blocks import DilatedConv2d, hidden_layers
from era8.evaluate import receptive_field
from era8.models import MODELS, DeepSession8Net, DilatedNet, NormFirstNet, SeparableNet
from era8.optim import make_optimizer
from era8.recipe import Recipe

# The network of the assignment: layer, output shape (C, H, W), parameters.
TABLE = """
Conv2d-1            16 32 32   432
ReLU-2              16 32 32     0
BatchNorm2d-3       16 32 32    32
Conv2d-4            32 32 32  4608
ReLU-5              32 32 32     0
BatchNorm2d-6       32 32 32    64
Conv2d-7            16 32 32   512
ReLU-8              16 32 32     0
MaxPool2d-9         16 16 16     0
Conv2d-10           16 16 16  2304
ReLU-11             16 16 16     0
BatchNorm2d-12      16 16 16    32
Conv2d-13           16 16 16  2304
ReLU-14             16 16 16     0
BatchNorm2d-15      16 16 16    32
Conv2d-16           32 16 16  4608
ReLU-17             32 16 16     0
BatchNorm2d-18      32 16 16    64
Conv2d-19           16 16 16   512
ReLU-20             16 16 16     0
MaxPool2d-21        16  8  8     0
Conv2d-22           16  8  8  2304
ReLU-23             16  8  8     0
BatchNorm2d-24      16  8  8    32
Conv2d-25           16  8  8  2304
ReLU-26             16  8  8     0
BatchNorm2d-27      16  8  8    32
Conv2d-28           16  8  8  2304
ReLU-29             16  8  8     0
BatchNorm2d-30      16  8  8    32
AdaptiveAvgPool2d-31 16 1  1     0
Conv2d-32           10  1  1   160
"""
LAYER = {"bn": "BatchNorm2d", "gn": "GroupNorm", "ln": "GroupNorm", "none": "Identity"}


def rows(model):
    """The layers of a model in the order in which they run, in the form of the table."""
    found = []

    def note(layer, _, output):
        n_parameters = sum(p.numel() for p in layer.parameters())
        found.append((type(layer).__name__, *output.shape[1:], n_parameters))

    for layer in model.modules():
        if not list(layer.children()):
            layer.register_forward_hook(note)
    model.eval()(torch.zeros(1, 3, 32, 32))
    return found


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("norm", list(LAYER))
def test_equals_the_assignment_row_by_row(norm, skip):
    expected = []
    for line in TABLE.strip().splitlines():
        name, *numbers = line.split()
        layer, numbers = name.split("-")[0], [int(n) for n in numbers]
        if layer == "BatchNorm2d":
            layer, numbers = LAYER[norm], [*numbers[:3], 0 if norm == "none" else numbers[3]]
        expected.append((layer, *numbers))
    assert rows(Session8Net(norm, skip)) == expected


@pytest.mark.parametrize("skip", [True, False])
def test_skips_are_where_the_assignment_has_them(skip):
    model = Session8Net("bn", skip).eval()
    x = torch.randn(2, 3, 32, 32)
    p1 = model.P1(model.c3(model.C2(model.C1(x))))
    c7 = model.c7(model.C6(model.C5(model.C4(p1))))
    p2 = model.P2(c7 + p1 * skip)
    c10 = model.C10(model.C9(model.C8(p2)))
    expected = model.c11(model.GAP(c10 + p2 * skip)).flatten(1)
    torch.testing.assert_close(model(x), expected)


def test_same_seed_gives_the_same_weights_whatever_the_norm():
    def convolutions(norm, skip):
        return [p for p in make(norm, skip).parameters() if p.dim() == 4]

    for other in (convolutions("gn", True), convolutions("none", False)):
        assert all(torch.equal(a, b) for a, b in zip(convolutions("bn", True), other, strict=True))


@pytest.mark.parametrize("kind", MODELS.values())
def test_he_draws_all_weights_but_those_of_the_last_layer(kind):
    def draw(init):
        torch.manual_seed(3)
        return kind("gn", init=init)

    ours, theirs = draw("he"), draw("torch")
    assert (ours.init, theirs.init) == ("he", "torch")
    drawn = [layer.weight for layer in hidden_layers(ours)]
    for p in drawn:
        scaled = p * (p[0].numel() / 2) ** 0.5  # of variance 1, were the draws not so few
        assert abs(scaled.std() - 1) < 4 / (2 * p.numel()) ** 0.5
        assert abs(scaled.mean()) < 4 / p.numel() ** 0.5
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert a.equal(b) is not any(a is p for p in drawn), name
    assert sum(p.dim() > 1 for p in ours.parameters()) == len(drawn) + 1


@pytest.mark.parametrize("norm", list(LAYER))
def test_the_norm_may_come_first(norm):
    plain = make(norm)
    torch.manual_seed(0)
    other = NormFirstNet(norm)
    pairs = zip(plain.parameters(), other.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    layers = [layer for layer, *_ in rows(other)]
    at = [i for i, layer in enumerate(layers) if layer == LAYER[norm]]
    assert len(at) == 8 and {(layers[i - 1], layers[i + 1]) for i in at} == {("Conv2d", "ReLU")}


@pytest.mark.parametrize("skip", [True, False])
def test_receptive_field_is_what_the_gradient_reaches(skip):
    model = Session8Net("none", skip)
    model.P1, model.P2 = nn.AvgPool2d(2), nn.AvgPool2d(2)  # as wide, and all of it has a gradient
    for p in model.parameters():  # all positive, so that no gradient is cut by a ReLU or cancels
        nn.init.constant_(p, 0.01)
    seen = {}
    images = torch.ones(1, 3, 96, 96, requires_grad=True)

    def note(name, output):
        middle = output[0, 0, output.shape[2] // 2, output.shape[3] // 2]
        gradient = torch.autograd.grad(middle, images, retain_graph=True)[0]
        seen[name] = (gradient.sum((0, 1, 2)) > 0).sum().item()

    fields = receptive_field(Session8Net(skip=skip)).set_index("layer").receptive_field.to_dict()
    for name in fields:
        getattr(model, name).register_forward_hook(lambda *args, n=name: note(n, args[-1]))
    model(images)
    assert seen == fields


@pytest.mark.parametrize("skip", [True, False])
def test_the_deep_network_goes_on_where_the_other_ends(skip):
    shallow = make("gn", skip)
    torch.manual_seed(0)
    deep = DeepSession8Net("gn", skip)
    assert sum(p.numel() for p in deep.parameters()) == 43_696
    assert sum(isinstance(layer, nn.Conv2d) for layer in deep.modules()) == 20
    weights = deep.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in shallow.state_dict().items())

    images = torch.randn(2, 3, 32, 32)
    x = shallow.features(images)
    for stage in deep.more:
        x = stage(x) + x * skip
    torch.testing.assert_close(deep(images), deep.c11(deep.GAP(x)).flatten(1))


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("norm", list(LAYER))
@pytest.mark.parametrize(
    ("kind", "counts"), [(SeparableNet, (48_634, 46_346)), (DilatedNet, (48_768, 46_252))]
)
def test_the_separable_networks_are_what_their_docstrings_say(norm, skip, kind, counts):
    model, sizes = kind(norm, skip), {}
    n_parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert n_parameters == counts[norm == "none"]
    for name, layer in model.named_children():
        layer.register_forward_hook(lambda *args, n=name: sizes.update({n: args[-1].shape[1:]}))
    model(torch.randn(2, 3, 32, 32))
    stages = ("stage1", "stage2", "stage3")
    blocks = "{}, {} and {} blocks".format(*(len(getattr(model, name)) for name in stages))
    channels = "{}, {} and {} channels".format(*(sizes[name][0] for name in stages))
    pixels = "{}, {} and {} pixels".format(*(sizes[name][1] for name in stages))
    for words in (blocks, channels, pixels):
        assert words in " ".join(kind.__doc__.split())
    for before, stage in zip(("stem", "transition1", "transition2"), stages, strict=True):
        assert sizes[before] == sizes[stage]


@pytest.mark.parametrize("size", [(8, 10), (7, 10)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_dilated_convolution_is_torchs_own(size, layout):
    layer = DilatedConv2d(6)
    images = torch.randn(2, 6, *size).to(memory_format=layout).requires_grad_()
    gradients = []
    for result in (layer(images), nn.Conv2d.forward(layer, images)):
        gradients.append(torch.autograd.grad(result.square().sum(), (images, layer.weight)))
        gradients[-1] += (result,)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("kind", [SeparableNet, DilatedNet])
def test_the_separable_networks_add_each_block_to_its_input(skip, kind):
    model = kind("gn", skip)
    images = torch.randn(2, 3, 32, 32)
    x = model.stem(images)
    for stage, transition in (
        (model.stage1, model.transition1),
        (model.stage2, model.transition2),
        (model.stage3, nn.Identity()),
    ):
        for depthwise, norm, relu, pointwise, last in stage:
            x = last(pointwise(relu(norm(depthwise(x))))) + x * skip
        x = transition(x)
    torch.testing.assert_close(model(images), model.head(x.relu().mean((2, 3))))


def test_a_network_is_made_by_its_name():
    assert {name: type(make_model(name)) for name in MODELS} == MODELS
    made = make_model("deep", "gn", False, 4)
    assert (made.norm, made.skip, made.groups) == ("gn", False, 4)
    assert type(make_model("deep", np.str_("gn")).norm) is str  # or the record would name no norm
    names = "session8, norm_first, deep, separable, dilated, module:Class of your own"
    with pytest.raises(ValueError, match=f"model must be one of {names}; got 're"):
        make_model("resnet")
    for name in MODELS:
        assert make_model(name, init="he").init == "he"
        with pytest.raises(ValueError, match="init must be one of torch, he; got 'zero'"):
            make_model(name, init="zero")
        with pytest.raises(ValueError, match="skip must be True or False; got 'false'"):
            make_model(name, skip="false")


@pytest.mark.parametrize(
    ("name", "last", "field"),
    [
        ("deep", "more.2.2", 44 + 9 * 8),
        ("separable", "stage3.1.3", 42),
        ("dilated", "stage3.1.3", 66),
    ],
)
def test_the_receptive_field_goes_to_the_last_convolution(name, last, field):
    table = receptive_field(make_model(name)).set_index("layer").receptive_field
    assert (table.index[-1], table.iloc[-1]) == (last, field)


@pytest.mark.parametrize("kind", MODELS.values())
def test_muon_changes_all_convolutions_but_the_last_layer(kind):
    model = kind("ln_chw")
    matrices = make_optimizer(model, Recipe()).param_groups[0]["params"]
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    wanted = layers if hasattr(model, "head") else layers[:-1]
    assert [id(p) for p in matrices] == [id(layer.weight) for layer in wanted]
