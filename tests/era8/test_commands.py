"""The command era8 run refuses what it cannot do, before anything starts."""

import sys
import time

import pytest
from support import invoke

from era8.progress import heartbeat

QUICK = "--data synthetic --epochs 1 --train-images 200 -p device cpu".split()
pytestmark = pytest.mark.usefixtures("forks")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bm"], "norm must be one of bn, gn, ln; got 'bm'"),
        (["-p", "model", "resnet"], "model must be one of session8, norm_first, deep, separable"),
        (["gn", "-p", "groups", "3"], "divides the 16 channels; got 3"),
        (["--train-images", "100", "-p", "batch_size", "101"], "at most the 100 training images"),
        (["--out", ""], "out_dir must be a folder that is there or can be made, such as"),
        (["--seed", "0..x"], "seed must be of type int; got '0..x'"),
        (["--epochs", "20"], "epochs must be below 20, the assignment's limit; got 20"),
        (["--workers", "0"], "workers must be auto or a whole number of at least 1; got '0'"),
        (["--epochs", "two"], "epochs must be of type int; got 'two'"),
        (["-p", "compare_skip", "maybe"], "compare_skip must be true or false; got 'maybe'"),
        (["-p", "device", "tpu9"], "device must be auto or one that this machine has"),
        (["-p", "epoch", "3"], "'epoch' is not a parameter of batch_norm.ipynb; it has epochs"),
        (["bn", "-p", "groups", "2"], "'groups' is not a parameter of batch_norm.ipynb"),
        (["-p", "picture", "no.png"], "there is no file 'no.png'; name a PNG or a JPEG"),
        (["-p", "pretrained", "true"], "pretrained must be False, for run trains"),
        (["-p", "pretrained", "true", "-p", "val_images", "9"], "unless CIFAR-10's test images"),
        (["-p", "pretrained", "true", "-p", "skip", "false"], "or dilated, with skips and two"),
        (["-p", "pretrained", "true", "-p", "model", "deep"], "unless the model is session8 or"),
        (["gn", "-p", "pretrained", "true", "-p", "groups", "4"], "no other network is kept"),
        (["-p", "theme", "pink"], "theme must be one of light, dark; got 'pink'"),
        (["--data", "nowhere"], "no CIFAR-10 in nowhere"),
        (["--seed", "0", "-p", "seed", "3"], "seed is given twice; give it once"),
        (["-p", "lr", "1", "-p", "lr", "2"], "lr is given twice; give it once"),
        (["-p", "out_dir", "elsewhere"], "out_dir is given twice; give it once"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(tmp_path, arguments, message):
    result = invoke("run", "--out", tmp_path / "runs", *arguments)
    assert result.exit_code == 1
    assert message in result.output and result.output.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_as_many_synthetic_images_are_announced_as_there_are(tmp_path, monkeypatch):
    monkeypatch.setattr("era8.sweep.local.sweep", lambda *_, **__: {"bn": "nothing is trained"})
    result = invoke("run", "bn", "--data", "synthetic", "--out", tmp_path, "-p", "device", "cpu")
    assert "2 trainings (epochs: 19, images: 10,000)" in result.stderr
    assert result.exit_code == 1 and result.stderr.endswith("Error: nothing is trained\n")


def test_out_dir_that_cannot_be_made_or_written_to(tmp_path):
    (tmp_path / "runs").write_text("a file")
    for out in (tmp_path / "runs", *(["/proc/runs"] if sys.platform == "linux" else [])):
        result = invoke("run", "bn", *QUICK, "--out", out)
        assert result.exit_code == 1 and result.output.startswith("Error: ")
        assert str(out) in result.output


def test_publish_takes_no_other_parameters(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    elsewhere = ["--out", "elsewhere"], ["-p", "out_dir", "elsewhere"]  # the notebooks would say it
    for arguments in (["--epochs", "2"], ["--data", "synthetic"], ["-p", "lr", "0.1"], *elsewhere):
        result = invoke("run", "bn", "--publish", *arguments)
        assert result.exit_code == 1 and "--publish goes with" in result.output
    assert not list(tmp_path.iterdir())


def test_no_command_is_silent_for_long(monkeypatch, capsys):
    monkeypatch.setattr("era8.progress.PULSE", -1.0)  # every moment is too long
    monkeypatch.delitem(sys.modules, "torch")
    text = ""
    with heartbeat():
        while "at work" not in text:
            text += capsys.readouterr().err
            time.sleep(0.1)
    assert text.startswith("loading PyTorch\nat work\n")
