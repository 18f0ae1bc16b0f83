import json
import re

import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from jinja2 import ChainableUndefined
from matplotlib.text import Text
from torch.nn import functional as F

from benchmarks import __main__, loops, measure, report
from benchmarks.__main__ import BATCH_SIZES, LOOPS, SHORT, main, measure_apart
from era8 import Session8Net
from era8.data import normalise
from era8.evaluate import predict
from era8.figures.style import COLORS, theme
from study.pages import Numbers, Writer

CPU = torch.device("cpu")
JOB = {
    "part": "speed", "norm": "bn", "round": 1, "threads": torch.get_num_threads(), "device": "cpu",
    "images": 40, "val_images": 10, "epochs": 6, "seconds": 0, "batch_size": 10,
    "precision": "fp32", "goal": 0.7,
}  # fmt: skip


@pytest.fixture
def job(cifar_folder, monkeypatch):
    """A measurement of a few generated pictures, which torchvision's data set takes for real."""
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *file: True)

    def make(loop, **more):
        workers = {"workers": 0} if loop in ("course", "tuned") else {}
        return JOB | {"loop": loop, "root": str(cifar_folder)} | workers | more

    return make


def make_results(kept=LOOPS, race=True, rounds=3):
    """Made-up results of some loops, as the benchmark writes them: the second round is slower."""
    rows = []

    def add(rate, loop="era8", norm="bn", batch_size=64, threads=2, **more):
        rows.append(
            {
                "part": "speed", "round": i, "loop": loop, "norm": norm, "threads": threads,
                "batch_size": batch_size, "precision": "fp32", "images": 10_000, "memory": 2**29,
                "images_per_second": rate * (0.9 if i == 2 else 1),
                **more,
            }
        )  # fmt: skip

    for i in range(1, rounds + 1):
        add(1000, "course", batch_size=32, workers=4)
        add(1500, "tuned", batch_size=128, workers=2, persistent_workers=True, channels_last=True)
        add(3200, "airbench", batch_size=1000)
        add(4200 if i == 3 else 4000)  # of which 4.2 times the course's loop is the highest ratio
        add(3000, norm="gn")
        add(3800, norm="ln")
        for size in (16, 32, 128, 256, 512):
            add(4500 - 15000 / size, batch_size=size)
        add(2200, threads=1)
    for loop, pace in {"course": 60, "tuned": 40, "airbench": 18, "era8": 13}.items():
        reached = [0.5, 0.66, 0.69 if loop == "course" else 0.7, 0.69]
        history = [{"seconds": pace * n, "accuracy": a} for n, a in enumerate(reached, start=1)]
        race_row = {"part": "race", "round": 1, "loop": loop, "norm": "bn", "val_images": 5000}
        race_row["epochs"] = 2 if loop == "era8" else 19
        rows += [race_row | {"history": history}] if race else []
    return {
        "device": "cpu: some processor, 2 thread(s)", "threads": 2, "precision": "fp32",
        "images": 10_000, "batch_size": 64, "versions": {"commit": "1a"},
        "measurements": [row for row in rows if row["loop"] in kept],
    }  # fmt: skip


@pytest.mark.parametrize("loop", LOOPS)
def test_loops_train_on_every_image_once_in_an_epoch(job, loop):
    made = job(loop)
    torch.manual_seed(0)
    model, data, epochs = Session8Net("gn"), measure.load_tensors(made, CPU), []
    before = F.cross_entropy(predict(model, data.train), data.train.labels)
    sizes, tf32 = [], set()
    model.register_forward_pre_hook(
        lambda model, images: sizes.append(len(images[0]) if model.training else 0)
    )

    def after_epoch():
        epochs.append(sum(sizes))
        sizes.clear()
        tf32.add(torch.backends.cudnn.allow_tf32)

    measure.train(model, measure.load(made, CPU), made, CPU, after_epoch)
    assert epochs == [40] * 6
    assert tf32 == {loop in ("course", "tuned")}
    assert not torch.backends.cudnn.allow_tf32  # whatever ran before, era8 goes on without it
    assert F.cross_entropy(predict(model, data.train), data.train.labels) < before


def test_all_loops_have_the_same_images(job):
    """The course's pictures are, before they are augmented, era8's; held-out ones are neither's."""
    made = job("era8")
    data, pictures = measure.load_tensors(made, CPU), measure.load_pictures(made)
    images = torch.from_numpy(pictures.dataset.data[pictures.indices]).permute(0, 3, 1, 2)
    assert torch.equal(images, data.train.images)
    assert len(data.val) == 10 and len(data.test) == 10
    assert not any((data.train.images == image).all((1, 2, 3)).any() for image in data.val.images)
    image, label = pictures[0]
    assert image.shape == (3, 32, 32) and label == data.train.labels[0]


def test_course_augments_and_normalises_as_era8(job):
    pictures = measure.load_pictures(job("course"))
    *_, to_tensor, to_normal = pictures.dataset.transform.transforms
    pictures.dataset.transform = lambda image: to_normal(to_tensor(image))
    images = torch.stack([image for image, _ in pictures])
    expected = normalise(measure.load_tensors(job("era8"), CPU).train.images)
    torch.testing.assert_close(images, expected)


def test_translate_is_what_it_is_image_by_image():
    images = torch.rand(60, 3, 32, 32)
    border = loops.BORDER
    shifts = torch.randint(2 * border + 1, (60, 2))
    moved = loops.translate(F.pad(images, [border] * 4, mode="reflect"), shifts)
    for image, got, (top, left) in zip(images, moved, shifts.tolist(), strict=True):
        rows = [31 - abs(31 - abs(y)) for y in range(top - border, top - border + 32)]
        columns = [31 - abs(31 - abs(x)) for x in range(left - border, left - border + 32)]
        assert torch.equal(got, image[:, rows][:, :, columns])


def test_airbench_mirrors_in_every_second_epoch(data, monkeypatch):
    monkeypatch.setattr(loops, "translate", lambda padded, shifts: padded[:, :, 2:34, 2:34])
    few, seen, model = data.take(20), [], Session8Net()
    model.register_forward_pre_hook(lambda model, images: seen.append(images[0]))
    loops.train_airbench(model, few, CPU, 2, lambda: None, batch_size=20)
    plain, (first, second) = normalise(few.train.images), seen

    def find(images, image):
        return (images == image).all(3).all(2).all(1).any()

    as_they_are = [bool(find(first, image)) for image in plain]
    assert 0 < sum(as_they_are) < 20
    for image, kept in zip(plain, as_they_are, strict=True):
        assert find(first, image if kept else image.flip(2))
        assert find(second, image.flip(2) if kept else image)


def test_speed_is_measured_after_a_first_epoch(job, monkeypatch):
    ticks = iter(range(0, 1000, 4))  # an epoch takes 4 s
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(ticks))
    monkeypatch.setattr(measure, "LOOPS", {"fake": fake_loop})
    monkeypatch.setattr(measure, "load", lambda job, device: None)
    measured = measure.measure(job("fake", seconds=10))
    assert measured["timed_epochs"] == 3  # 4 and 8 s are not enough
    assert measured["images_per_second"] == 40 / 4
    assert measured["memory"] > 2**20


def fake_loop(model, data, device, epochs, after_epoch, **settings):
    for _ in range(epochs):
        after_epoch()


def test_race_ends_an_epoch_after_the_goal(job, monkeypatch):
    reached = iter([0.5, 0.71, 0.69, 0.9])
    ticks = iter(range(1000))
    monkeypatch.setattr(measure, "accuracy", lambda logits, labels: next(reached))
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(ticks))
    monkeypatch.setattr(measure, "LOOPS", {"fake": fake_loop})
    history = measure.measure(job("fake", part="race"))["history"]
    assert [row["accuracy"] for row in history] == [0.5, 0.71, 0.69]
    assert [row["seconds"] for row in history] == [1, 2, 3]  # a test takes 1 s, which is left out
    race = {"part": "race", "loop": "era8", "norm": "bn", "history": history}
    short = race | {"loop": "course", "history": [history[0] | {"seconds": 30}]}
    races = report.compare_races({"measurements": [short, race]})
    course, era8 = races.passed
    assert era8 == 2 and course != course  # never
    assert races.ratio.tolist() == [15, 1]  # at least


def test_each_norm_is_held_against_its_own_goal():
    history = [{"seconds": n, "accuracy": a} for n, a in enumerate([0.7, 0.73, 0.77], start=1)]
    row = {"part": "result", "history": history}
    rows = [
        row | {"loop": loop, "norm": norm, "goal": goal}
        for norm, goal in (("bn", 0.7624), ("ln", 0.7207))
        for loop in ("course", "era8")
    ]
    rows[0]["history"] = rows[2]["history"] = [r | {"seconds": 60} for r in history]
    races = report.compare_races({"measurements": rows}, "result")
    assert races.passed.tolist() == [60, 3, 60, 2] and races.ratio.tolist() == [20, 1, 30, 1]


def test_races_begin_with_the_same_weights(job, monkeypatch):
    models = []
    monkeypatch.setattr(measure, "train", lambda model, *rest: models.append(model))
    for loop in LOOPS:
        measure.measure(job(loop, part="race"))
    first = torch.cat([p.flatten() for p in models[0].parameters()])
    assert all(torch.equal(first, torch.cat([*map(torch.flatten, m.parameters())])) for m in models)


def test_ratios_are_those_of_each_round():
    table = report.compare(make_results()).set_index(["loop", "norm"])
    assert [*table.index] == [("course", "bn"), ("tuned", "bn"), ("airbench", "bn"),
                              ("era8", "bn"), ("era8", "gn"), ("era8", "ln")]  # fmt: skip
    course = table.loc["course", "bn"]
    assert (course.rate, course.rate_low, course.rate_high) == (1000, 900, 1000)
    assert (course.ratio, course.ratio_low, course.ratio_high) == (4.0, 4.0, 4.2)
    assert table.loc["era8", "gn"].ratio == 1


def render(measured):
    """Return the page, the pictures on it, and the numbers that it does not use."""
    others = {
        "accuracy": {
            "fast": pd.DataFrame(),
            "fast_device": "cpu",
            "small_time": 0.5,
            "faster_gn": 0.69,
            "short": pd.DataFrame(0.7, ["bn", "gn", "ln"], ["goal", "mean", "size"]),
        },
        "run": {"gpu": "cuda"},
        "norms": {"gpu_seconds": {"bn": 77.0, "gn": 89.0, "ln": 90.0}},
        "effects": ChainableUndefined(),
    }  # what the study fills
    speed = Numbers(report.numbers(measured))
    writer = Writer(others | {"speed": speed}, report.list_pictures(measured))
    writer.templates.filters["interval"] = lambda row, decimals: str(row)
    writer.templates.globals["compare"] = lambda *names: ""
    text = writer.write_page("docs/speed.md").replace("\N{NO-BREAK SPACE}", " ")
    return text, writer.shown, speed.keys() - speed.used


def test_page_shows_what_was_measured():
    text, shown, unused = render(make_results())
    for words in (
        "| course loop | BN | 32 | fp32 | 1,000 (900 to 1,000) | **4.00 ×** (4.00 to 4.20) |",
        "era8 trains 4.0 times as fast as the loop that most courses use, 2.7 times",
        "batches of 128, fp32, 2 workers kept from epoch to epoch, channels last",
        "The median of 3 rounds,",
        "| 64 | 1 | 2,200 |\n| 64 | 2 | 4,000 |",
        "| course loop | 19 | not in 4 epochs |  |",
        "| course loop, tuned | 19 | 120.0 s | 3.1 |",
        "| era8 | 2 | 39.0 s |  |",
        "70 % of the held-out images correctly after 39 s of training.",
        "of the process",
    ):
        assert words in text
    assert shown == set(report.list_pictures(make_results())) == {"speed", "race"}
    assert not unused


@pytest.mark.parametrize("kept", [["airbench", "era8"], ["era8"]])
def test_page_of_a_part_of_the_benchmark(kept):
    measured = make_results(kept, race=False, rounds=1) | {"device": "cuda: some GPU"}
    text, shown, unused = render(measured)
    assert shown == set(report.list_pictures(measured)) == {"speed"} and not unused
    assert "The median of 1 round," in text and "allocated on the GPU" in text
    assert "course" not in text.split("## How it was measured")[0]
    assert ("in the style of" in text) == ("airbench" in kept)
    assert "Each loop trains until" not in text


@pytest.mark.filterwarnings("error::UserWarning", "error::RuntimeWarning")
@pytest.mark.parametrize("kind", ["light", "dark"])
@pytest.mark.parametrize("kept", [LOOPS, ["airbench", "era8"], ["era8"]])
def test_figures_show_what_was_measured(kept, kind):
    measured = make_results(kept, rounds=1)
    written = {}
    with theme(kind):
        for name, draw in report.list_pictures(measured).items():
            figure = draw()
            figure.draw_without_rendering()
            texts = [text for text in figure.findobj(Text) if text.get_text()]
            written[name] = "\n".join(text.get_text() for text in texts)
            assert {text.get_color() for text in texts} == {COLORS["ink"]}
            assert min(text.get_fontsize() for text in texts) >= 11  # legible on a phone
    assert ("4.0 times as fast as the usual" in written["speed"]) == ("course" in kept)
    assert ("era8: 1.2 ×" in written["speed"]) == ("airbench" in kept)
    assert "4,000" in written["speed"] and "3,800" in written["speed"]
    assert "era8: 70 % after 39 s" in written["race"]
    schedules = "era8's schedule has 2 epochs, the others' 19"
    assert (schedules in written["race"]) == ("airbench" in kept)
    assert ("course loop: not there yet" in written["race"]) == ("course" in kept)


@pytest.fixture
def measured(cifar_folder, monkeypatch):
    """The benchmark without its processes: the jobs that it asks for are answered at once."""
    jobs = []

    def answer(job):
        jobs.append(job)
        rate = 100 * (job.get("workers") == 2) + job.get("batch_size", 0) + job["round"]
        if job["part"] in ("race", "result"):
            return {"history": [{"seconds": 1.0, "accuracy": 0.7}]}
        return {"images_per_second": rate, "memory": 1}

    monkeypatch.setattr(__main__, "measure_apart", answer)
    monkeypatch.setenv("ERA8_DATA", str(cifar_folder))
    return jobs


def invoke(*arguments):
    """Run the command; return its lines."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def test_benchmark_measures_in_turns(measured, tmp_path):
    out = tmp_path / "new" / "results.json"
    lines = invoke("--rounds", 2, "--race", "--device", "cpu", "--out", out)
    found = report.load_results(out)
    speed = report.find_rows(found, "speed")
    turns = speed[speed["round"] == 2].loop.tolist()
    assert turns[:6] == ["course", "tuned", "airbench", "era8", "era8", "era8"]
    assert turns == speed[speed["round"] == 1].loop.tolist()
    tuned = speed[speed.loop == "tuned"].iloc[0]
    assert (tuned.batch_size, tuned.workers) == (512, 2)  # the fastest that `answer` knows
    assert any(line.startswith("best settings of the course's loop") for line in lines)
    assert any("course  bn  fp32  batch_size 32" in line for line in lines)
    ours = speed[(speed.loop == "era8") & (speed.norm == "bn") & (speed["round"] == 1)]
    assert set(ours.batch_size) == set(BATCH_SIZES)
    assert not speed.drop(columns="images_per_second").astype(str).duplicated().any()
    races, last = measured[-10:-6], measured[-6:]
    assert [job["loop"] for job in races] == [*LOOPS]
    assert {job["images"] + job["val_images"] for job in races + last} == {50_000}
    assert [job["epochs"] for job in races] == [19, 19, 19, 2]
    assert [(job["loop"], job["norm"]) for job in last] == [
        (loop, norm) for norm in ("bn", "gn", "ln") for loop in ("course", "era8")
    ]
    assert [job["epochs"] for job in last] == 3 * [20, SHORT.epochs]
    assert {(job["batch_size"], job["precision"]) for job in last[::2]} == {(32, "fp32")}
    assert set(report.list_pictures(found)) == {"speed", "race"}
    assert render(found)
    assert [path.name for path in out.parent.iterdir()] == ["results.json"]
    assert "cifar" not in out.read_text()  # no folder of this machine


def test_era8_is_always_measured(measured, tmp_path):
    out = tmp_path / "results.json"
    invoke("course", "--rounds", 1, "--out", out)
    assert {job.get("loop", "era8") for job in measured} == {"course", "era8"}
    table = report.compare(report.load_results(out))
    assert table.norm.tolist() == ["bn", "bn", "gn", "ln"]


def test_results_that_are_missing_or_damaged(tmp_path):
    path = tmp_path / "results.json"
    with pytest.raises(FileNotFoundError, match="does not exist; python -m benchmarks --race"):
        report.load_results(path)
    for text in ("", "[]", "{}", json.dumps(make_results() | {"measurements": []})):
        path.write_text(text)
        with pytest.raises(ValueError, match="holds no readable results of a benchmark"):
            report.load_results(path)
    path.write_text(json.dumps(make_results()))
    assert report.load_results(path) == make_results()


@pytest.mark.process
def test_a_measurement_that_fails_is_one_sentence(tmp_path):
    job = JOB | {"loop": "era8", "root": str(tmp_path)}
    with pytest.raises(ChildProcessError, match="speed  era8  bn .* failed: no CIFAR-10 in"):
        measure_apart(job)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["keras"], "'keras' is not one of 'course', 'tuned', 'airbench', 'era8'"),
        (["--rounds", "0"], "0 is not in the range x>=1"),
        (["--images", "999"], "999 is not in the range 1000<=x<=50000"),
        (["--device", "tpu9"], "device must be auto or one that this machine has"),
        (["--data", "nowhere"], "no CIFAR-10 in nowhere"),
        (["--out", "."], "File '.' is a directory"),
        (["--out", __file__ + "/results.json"], "File exists|Not a directory"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(measured, tmp_path, arguments, message):
    out = tmp_path / "results.json"
    result = CliRunner().invoke(main, ["--out", str(out), *arguments])
    assert result.exit_code in (1, 2) and re.search(message, result.output)
    assert not measured and not out.exists()
