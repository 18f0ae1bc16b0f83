import math
import re
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support import make, quiet, same_weights, without_times
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from era8 import Recipe, Session8Net, fit, fit_in
from era8.blocks import unwrap
from era8.device import best_precision
from era8.evaluate import accuracy, predict
from era8.records import load_weights, save_run


def train(data, norm="bn", seed=0):
    torch.manual_seed(seed)
    model = Session8Net(norm)
    return model, fit(model, data, Recipe(epochs=2, seed=seed), log=quiet)


@pytest.mark.parametrize("norm", ["bn", "gn", "ln", "none"])
def test_same_seed_is_bit_identical(data, norm):
    (a, first), (b, second) = train(data, norm), train(data, norm)
    assert without_times(first) == without_times(second)
    assert first.confusion == second.confusion and same_weights(a, b)


def test_other_seed_differs(data):
    assert without_times(train(data, seed=0)[1]) != without_times(train(data, seed=1)[1])


def test_global_generator_does_not_change_the_order(data):
    records = []
    for draws in (0, 5):
        model = make()
        torch.rand(draws)
        records.append(fit(model, data, Recipe(epochs=1), log=quiet))
    assert without_times(records[0]) == without_times(records[1])


def test_record_tells_what_was_done(data):
    lines = []
    record = fit(make("gn", False, 4), data, Recipe(epochs=3, batch_size=50), lines.append)
    made = record.model, record.norm, record.skip, record.groups
    assert made == ("session8", "gn", False, 4)
    assert (record.epochs, record.batch_size, record.train_images) == (3, 50, 300)
    assert record.n_parameters == 22_672
    assert [row["epoch"] for row in record.history] == [1, 2, 3]
    assert len(lines) == 3
    numbers = r"loss \d\.\d{4}  train +[\d.]+%  test +[\d.]+%  [\d.]+ s"
    assert re.fullmatch(f"epoch  1/3  {numbers}", lines[0])
    assert record.train_loss == record.history[-1]["train_loss"]
    assert sum(map(sum, record.confusion)) == len(data.test)
    hits = sum(record.confusion[i][i] for i in range(10))
    assert record.test_accuracy == pytest.approx(hits / len(data.test))
    assert record.val_accuracy is None
    assert record.precision == best_precision(data.device)
    assert record.train_seconds == sum(row["seconds"] for row in record.history) > 0


def test_loss_and_accuracy_are_means_over_images(data):
    """With a learning rate of nearly zero, an epoch's means are those of the first model."""
    recipe = Recipe(epochs=1, batch_size=77, lr=1e-12, max_shift=0, flip=False, precision="fp32")
    record = fit(make("gn"), data, recipe, log=quiet)
    copy = replace(data, test=data.train)  # the last batch has 69 images: 300 = 3 * 77 + 69
    expected = fit(make("gn"), copy, recipe, log=quiet)
    assert record.train_loss == pytest.approx(expected.test_loss, rel=1e-5)
    assert record.train_accuracy == pytest.approx(expected.test_accuracy)


def test_validation_leaves_the_test_set_unread(data):
    class Unreadable:
        def __getattr__(self, name):
            raise AssertionError("the test set was read")

    held, lines = replace(data.hold_out(50), test=Unreadable()), []
    record = fit(Session8Net(), held, Recipe(epochs=2), lines.append)
    assert record.test_accuracy is None and record.test_loss is None
    assert not any(name.startswith("test") for row in record.history for name in row)
    assert all("  val " in line and "test" not in line for line in lines)
    assert record.val_accuracy == record.history[-1]["val_accuracy"] == record.accuracy
    assert (record.train_images, record.val_images, record.images) == (300, 50, 250)


def test_the_first_epochs_may_be_on_small_images(data):
    sizes, model = [], Session8Net()
    model.register_forward_pre_hook(
        lambda model, images: sizes.append(images[0].shape[-1]) if model.training else None
    )
    record = fit(model, data, Recipe(epochs=3, batch_size=150, low_res_epochs=2), log=quiet)
    assert sizes == [16, 16, 16, 16, 32, 32] and record.low_res_epochs == 2


def test_the_test_set_is_watched_and_the_last_epoch_reported(data, monkeypatch):
    reads, clock = [], iter(range(100))

    def noted(model, split, *watch):
        reads.append(split)
        next(clock)  # predicting takes a second
        return predict(model, split, *watch)

    monkeypatch.setattr("era8.train.predict", noted)
    monkeypatch.setattr("era8.evaluate.predict", noted)
    monkeypatch.setattr("era8.train.time.perf_counter", lambda: next(clock))
    record = fit(Session8Net(), data, Recipe(epochs=3), log=quiet)
    assert [split is data.test for split in reads] == [True, True, True, False]
    assert reads[-1] is data.train
    assert [row["seconds"] for row in record.history] == [1, 1, 1]  # the clock stood still
    last = record.history[-1]
    assert (record.test_loss, record.test_accuracy) == (last["test_loss"], last["test_accuracy"])


def test_a_row_says_what_the_model_was_then(data):
    model, found = Session8Net(), []

    def look(line):
        found.append(accuracy(predict(model, data.test), data.test.labels))

    record = fit(model, data, Recipe(epochs=3), look)
    assert [row["test_accuracy"] for row in record.history] == found


def test_training_images_are_measured_like_the_test_images(data):
    """Trained on some images and tested on the same, a model says the same of both."""
    copy = replace(data, test=data.train)
    record = fit(make(), copy, Recipe(epochs=1), log=quiet)
    assert record.train_accuracy_eval == record.test_accuracy != record.train_accuracy


def test_no_silence_is_long_but_in_a_notebook_that_keeps_every_line(data, monkeypatch, capsys):
    monkeypatch.setattr("era8.progress.TICK", 0)
    recipe, lines = Recipe(epochs=1, batch_size=100), []
    fit(Session8Net(), data, recipe)
    fit(Session8Net(), data, recipe, lines.append)
    begins, *printed = capsys.readouterr().out.splitlines()
    assert begins == "training begins"
    for said in (printed, lines):
        assert [line[12:] for line in said[:3]] == ["  0 %", " 33 %", " 67 %"]
        assert said[3] == "epoch  1/1, evaluation    0 %" and said[4].startswith("epoch  1/1  loss")
        assert said[-1].startswith("epoch 1/1, evaluation of the training images")
    papermills = SimpleNamespace(get_parent=lambda _: {})  # nobody whom it could ask for input
    monkeypatch.setattr("era8.progress.find_kernel", lambda: papermills)
    fit(Session8Net(), data, recipe)
    assert capsys.readouterr().out.startswith("epoch  1/1  loss")


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_runs_of_a_few_steps_or_of_one_image(data, steps):
    record = fit(Session8Net(), data.take(1), Recipe(epochs=steps, batch_size=1), log=quiet)
    assert record.train_images == 1 and all(0 < row["lr"] < 0.051 for row in record.history)


def test_loss_that_is_not_finite_stops_the_run(data):
    class Broken(nn.Module):
        """Returns nan from the seventh step of the training on."""

        def __init__(self):
            super().__init__()
            self.layer, self.calls = nn.Linear(3 * 32 * 32, 10), 0

        def forward(self, images):
            self.calls += self.training
            return self.layer(images.flatten(1)) * (math.nan if self.calls > 6 else 1)

    message = "epoch 2, step 2 of 5, with learning rate 0.09697"
    with pytest.raises(FloatingPointError, match=message):
        fit(Broken(), data, Recipe(epochs=2, batch_size=60, lr=0.2), log=quiet)


def test_too_many_parameters(data):
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10), nn.Linear(10, 10))
    assert fit(model, data, Recipe(epochs=1), log=quiet).n_parameters == 30_840
    large = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 17), nn.Linear(17, 10))
    with pytest.raises(ValueError, match="fewer than 50,000 parameters.*got 52,421"):
        fit(large, data, Recipe(epochs=1), log=quiet)
    assert fit(large, data, Recipe(epochs=1, limits=False), log=quiet).n_parameters == 52_421


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Linear(3 * 32 * 32, 11), r"return logits \(N, 10\); it returns \(2, 11\) for 2"),
        (nn.LSTM(3 * 32 * 32, 2), r"return logits \(N, 10\); it returns tuple for 2 images"),
        (nn.Identity(), "must have parameters; got none that require a gradient"),
        (nn.Linear(3 * 32 * 32, 10).double(), "weights must be torch.float32; got torch.float64"),
    ],
)
def test_a_model_that_cannot_be_trained_is_refused_before_it_is(data, layer, message):
    with pytest.raises(ValueError, match=f"^the model.*{message}"):
        fit(nn.Sequential(nn.Flatten(), layer), data, Recipe(epochs=1), log=pytest.fail)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_training_without_gradients_is_refused(data, mode):
    model = Session8Net()
    with mode(), pytest.raises(ValueError, match="must be made and trained outside of no_grad"):
        fit(model, data, Recipe(epochs=1), log=pytest.fail)


@pytest.mark.parametrize(
    "change",
    [
        {"labels": torch.full((300,), -100)},  # torch's sign for one that does not count
        {"labels": torch.full((300,), 10)},
        {"labels": torch.zeros(300)},
        {"labels": torch.zeros(299, dtype=torch.int64)},
        {"images": torch.rand(300, 3, 32, 32)},
        {"images": torch.zeros(300, 3, 64, 64, dtype=torch.uint8)},
    ],
)
def test_images_and_labels_of_another_kind_are_refused(data, change):
    for part in ("train", "test"):
        other = replace(data, **{part: replace(data.train, **change)})
        with pytest.raises(ValueError, match=r"^data must have images \(N, 3, 32, 32\) of torch"):
            fit(Session8Net(), other, Recipe(epochs=1), log=pytest.fail)
    nothing = replace(data, test=data.test[torch.arange(0)])
    with pytest.raises(ValueError, match="^data must have .* and one at least; got"):
        fit(Session8Net(), nothing, Recipe(epochs=1), log=pytest.fail)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": Session8Net}, "model must be an instance of Module; got <class"),
        ({"data": "cifar10"}, "data must be an instance of Data; got 'cifar10'"),
        ({"recipe": {"epochs": 1}}, "recipe must be an instance of Recipe; got {'epochs': 1}"),
    ],
)
def test_what_is_no_model_data_or_recipe_is_refused(data, given, message):
    usual = {"model": Session8Net(), "data": data, "recipe": Recipe(epochs=1)}
    with pytest.raises(ValueError, match=f"^{message}"):
        fit(**usual | given, log=pytest.fail)


@pytest.mark.parametrize("words", [{"name": 5}, {"name": "a\0b"}, {"checksum": None}])
def test_data_without_a_name_is_refused_before_a_training(data, tmp_path, words):
    for train in (fit, partial(fit_in, tmp_path / "runs")):
        with pytest.raises(ValueError, match="^data's name and checksum must be text; got"):
            train(Session8Net(), replace(data, **words), Recipe(epochs=1), log=pytest.fail)
    assert not list(tmp_path.iterdir())


def test_small_images_that_a_network_cannot_take_are_refused_before_a_training(data):
    own = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(48, 10))
    for model in (own, Session8Net("ln_chw")):
        with pytest.raises(ValueError, match="^low_res_epochs must be 0 for a model that takes"):
            fit(model, data, Recipe(epochs=2, low_res_epochs=1, limits=False), log=pytest.fail)


def test_a_default_dtype_counts_no_less_exactly(data):
    models, records = (make(), make()), []
    recipe = Recipe(epochs=1, max_shift=0, flip=False)
    easy = replace(data, train=replace(data.train, labels=torch.zeros(300, dtype=torch.int64)))
    try:
        for model, dtype in zip(models, (torch.float32, torch.bfloat16), strict=True):
            torch.set_default_dtype(dtype)
            records.append(fit(model, easy, recipe, quiet))
    finally:
        torch.set_default_dtype(torch.float32)
    assert without_times(records[0]) == without_times(records[1])


def test_a_wrapped_model_is_known_by_what_is_in_it(data, tmp_path):
    model = Session8Net("gn", False, 4)
    record = fit(nn.DataParallel(model), data.take(100), Recipe(epochs=1, batch_size=50), log=quiet)
    said = record.model, record.norm, record.skip, record.groups
    assert said == ("session8", "gn", False, 4)
    save_run(tmp_path, record, nn.DataParallel(model))
    other = load_weights(tmp_path, Session8Net("gn", groups=4))
    assert torch.equal(other.c11.weight, model.c11.weight)
    compiled = nn.Module()
    compiled._orig_mod = nn.DataParallel(model)  # as torch.compile keeps it
    assert unwrap(compiled) is model and unwrap(nn.Sequential(model))[0] is model


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("epochs", v) for v in (0, -1, 2.0, "3", True, None, 20, 100)],
        *[("batch_size", v) for v in (0, -4, 1.5, "64")],
        *[("lr", v) for v in (0, -0.1, math.nan, math.inf, "0.1", True, np.True_, 1e308)],
        *[("seed", v) for v in (-1, 0.5, np.False_, 2**63)],
        *[("momentum", v) for v in (0, 1, math.nan)],
        *[("weight_decay", v) for v in (-1e-4, math.nan, math.inf, 1e300)],
        *[("warmup", v) for v in (0, 1.0, math.nan)],
        *[("max_shift", v) for v in (-1, 32)],
        *[("flip", v) for v in (1, "yes")],
        *[("low_res_epochs", v) for v in (-1, 19, 1.0)],
        ("precision", "fp8"),
        ("optimizer", "adam"),
    ],
)
def test_recipe_refuses(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be .*got {re.escape(repr(value))}"):
        Recipe(**{name: value})


def test_a_recipe_is_plain_python_and_its_refusals_are_short():
    given = {"seed": np.int64(1), "lr": np.float32(0.5), "flip": np.True_, "weight_decay": 0}
    given |= {"precision": np.str_("fp32"), "optimizer": np.str_("muon")}
    recipe = Recipe(**given)
    assert recipe == Recipe(seed=1, lr=0.5, flip=True, weight_decay=0.0, precision="fp32")
    assert [type(getattr(recipe, name)) for name in given] == [int, float, bool, float, str, str]
    assert Recipe(epochs=20, limits=False).epochs == 20 and Recipe().epochs == 19
    for value in (10**400, 10**5000):
        with pytest.raises(ValueError, match="^lr must be a number above 0 and below .{,150}$"):
            Recipe(lr=value)


class Waits(TorchDispatchMode):
    """Counts the operations that wait for a GPU, as far as a CPU tells: not ``cpu``, ``tolist``."""

    NAMES = (
        "lift_fresh", "_local_scalar_dense", "nonzero", "masked_select", "_unique2", "bincount",
        "repeat_interleave",
    )  # fmt: skip

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation.overloadpacket.__name__
        masked = name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])
        self.count += masked or name in self.NAMES
        return operation(*args, **(kwargs or {}))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_step_of_sgd_waits_for_nothing(data, precision):
    """Twice as many steps wait as often: only at the end of an epoch, and of the run."""
    recipe, counts = Recipe(epochs=1, batch_size=20, optimizer="sgd", precision=precision), []
    for images in (100, 100, 200):  # the first run fills caches
        with Waits() as waits:
            fit(Session8Net(), data.take(images), recipe, log=quiet)
        counts.append(waits.count)
    assert counts[2] == counts[1] > 0


def test_an_outer_autocast_is_refused(data):
    """It would train otherwise than the record says."""
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(ValueError, match="outside of autoc"):
        fit(Session8Net(), data, Recipe(epochs=1, precision="fp32"), log=quiet)
