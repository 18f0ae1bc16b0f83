"""Networks and norms of one's own: found, told apart, recorded, or refused in one sentence."""

import importlib
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from support import SWEEP, invoke, make, quiet
from torch import nn

from era8 import Recipe, Session8Net, fit_in, load_runs, make_model, make_norm
from era8.records import load_run
from era8.run import fingerprint_code

pytestmark = pytest.mark.usefixtures("forks")
NETWORK = "from era8 import Session8Net\n\n\nclass Own(Session8Net):\n    pass\n"
NORM = "from torch import nn\n\n\nclass Own(nn.InstanceNorm2d):\n    pass\n"
ONE = [*SWEEP, *"--train-images 200 --epochs 1 --out runs".split()]


@pytest.fixture
def write(tmp_path, monkeypatch):
    """A function that writes a module into the current folder, from where it is imported anew."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.invalidate_caches()

    return write


@pytest.mark.parametrize(
    ("setting", "source", "name"),
    [("model", NETWORK, "bn-seed=0-epochs=1-model=Own"), ("norm", NORM, "Own-seed=0-epochs=1")],
    ids=["model", "norm"],
)
def test_what_is_ones_own_is_a_setting_like_others(write, tmp_path, setting, source, name):
    write("mine", source)
    write("other", source)
    result = invoke(*ONE, f"--{setting}", "mine:Own")
    record = load_run(tmp_path / "runs" / f"{name}-train_images=200-data=synthetic")
    assert getattr(record, setting) == "mine:Own", result.output
    for given, edit, message in (
        (["mine:Own", "other:Own"], "pass", "different names; got mine:Own and other:Own"),
        (["other:Own"], "pass", f"{setting} is mine:Own, not other:Own"),
        (["mine:Own"], "edited = True", "holds a run of other code"),
    ):
        write("mine", source.replace("pass", edit))
        result = invoke(*ONE, f"--{setting}", *given)
        assert result.exit_code == 1 and message in result.output
        assert result.output.count("Error") == 1


def test_a_network_made_by_type_is_named_after_its_module(write, tmp_path):
    write("mine", "from era8 import Session8Net\n\nOwn = type('Own', (Session8Net,), {})\n")
    for _ in range(2):
        result = invoke(*ONE, "--model", "mine:Own")
        assert result.exit_code == 0, result.output
    assert load_runs(tmp_path / "runs").model.tolist() == ["mine:Own"]


def test_a_network_that_fixes_its_norm_is_recorded_as_what_it_is(write, tmp_path):
    init = "def __init__(self, *a):\n        super().__init__('gn', False, 4)"
    write("fixed", NETWORK.replace("pass", init))
    for finished in (0, 1):
        result = invoke(*ONE, *"--norm bn ln --model fixed:Own".split())
        assert result.exit_code == 0 and f"1 runs, {finished} of them finished" in result.output
    (run,) = load_runs(tmp_path / "runs").itertuples()
    assert (run.norm, run.skip, run.groups) == ("gn", False, 4)


SOME = """
from torch import nn
from era8 import Session8Net
class Net(nn.Module): pass
class Wide(Session8Net): pass
class deep(Session8Net): pass
Other = Wide
def function(channels): pass
class Plain: pass
class GN(nn.Identity): pass
class Halved(nn.Identity):
    def forward(self, x):
        return x[:, :, ::2]
"""


@pytest.mark.parametrize(
    ("make", "name", "message"),
    [
        (make_model, "some:Net", "subclass of era8.models.Network; got 'some:Net'"),
        (make_model, "era8.models:Network", "era8.models.Network; got 'era8.models:Network'"),
        (make_model, "some:Other", "subclass of era8.models.Network; got 'some:Other'"),
        (make_model, "some:Session8Net", "be called as one of era8's; got 'some:Session8Net'"),
        (make_model, "same:Session8Net", "be called as one of era8's; got 'same:Session8Net'"),
        (make_model, "some:deep", "must not be called as one of era8's; got 'some:deep'"),
        (make_model, "some:Mine", "'some:Mine' cannot be imported: module 'some' has no attribute"),
        (make_model, "nobody_has_this:Net", "cannot be imported: No module named 'nobody_has"),
        (make_model, "exits:Net", "model 'exits:Net' cannot be imported: 0"),
        (make_model, "broken:Net", "cannot be imported: '.' was never closed"),
        (make_model, ":", "cannot be imported: Empty module name"),
        *[(make_model, n, "cannot be imported|name a") for n in (".a:B", ":B", "..:X", "a b:C")],
        (make_norm, "some:Nothing", "norm 'some:Nothing' cannot be imported: module 'some' has no"),
        (make_norm, "some:function", "norm must name a subclass of torch.nn.modules.module.Module"),
        (make_norm, "some:Plain", "norm must name a subclass of .*; got 'some:Plain'"),
        (make_norm, "some:GN", "must not be called as one of era8's; got 'some:GN'; rename"),
        (make_norm, "some:Halved", r"keep the shape .* makes \(2, 16, 4, 8\) of \(2, 16, 8, 8\)"),
        (make_norm, "torch.nn:LayerNorm", "made from the number of channels, .*normalized_shape"),
        (make_norm, "torch.nn:GroupNorm", "made from the number of channels, .*'num_channels'"),
    ],
)
def test_what_cannot_be_made_or_told_apart_is_refused(write, make, name, message):
    write("some", SOME)
    write("same", "import era8\n\n\nclass Session8Net(era8.Session8Net):\n    pass\n")
    write("exits", "import sys\nsys.exit(0)")
    write("broken", "x = [")
    with pytest.raises(ValueError, match=message):
        make(name, *([16] if make is make_norm else []))


def test_a_norm_is_any_module_made_from_the_channels():
    norms = {m for m in Session8Net("torch.nn:InstanceNorm2d").modules() if "Norm" in repr(m)[:12]}
    assert {(type(m), m.num_features) for m in norms} >= {(nn.InstanceNorm2d, 16)}
    assert len(norms) == 8 and all(m.training for m in norms)


def test_a_class_of_a_notebook_is_known_by_what_it_does():
    """No file has its source; where in the notebook it stands does not matter."""
    source = """class Own(nn.Module):
        eps, pad = 1e-5, property(lambda self: 4)
        def forward(self, x, power=2):
            return (lambda y: y * 0.5)(x.mean((1, 2)) + self.eps) ** power
    """

    def know(source):
        names = {"__name__": "cell", "nn": torch.nn}
        exec(source, names)
        return fingerprint_code(names["Own"]())

    edits = [("1e-5", "1e-3"), ("4)", "5)"), ("=2", "=3"), ("0.5", "0.25"), ("(1, 2)", "(1, 3)")]
    assert know(f"\n{source}") == know(source)
    assert len({know(source), *(know(source.replace(*edit)) for edit in edits)}) == 6


def test_a_file_that_is_edited_after_its_import_is_not_what_was_trained(write, tmp_path):
    source = NORM.replace("pass", "size = 1")
    write("later", source)
    before = fingerprint_code(make("later:Own"))
    (tmp_path / "later.py").write_text(source.replace("1", "23"))
    assert fingerprint_code(make("later:Own")) == before
    importlib.reload(sys.modules["later"])
    assert fingerprint_code(make("later:Own")) != before


@pytest.mark.filterwarnings("ignore:.torch.jit.script")
def test_a_model_that_is_not_era8s_own(data, tmp_path):
    layers = nn.AvgPool2d(8), nn.Flatten(), nn.Linear(48, 10)
    _, folder = fit_in(tmp_path, nn.Sequential(*layers), data, Recipe(epochs=1), quiet)
    assert folder.name.startswith("Sequential-seed=0-epochs=1")
    has = {"norm": nn.BatchNorm2d(1), "skip": len, "groups": None}  # not what era8 means
    own, other = type("Own", (nn.Sequential,), has), replace(data, name="../a/b")
    record, again = fit_in(tmp_path, own(*layers), other, Recipe(epochs=1), quiet)
    assert again.parent == tmp_path and again.name.endswith("data=.._a_b")
    assert (record.norm, record.skip, record.groups) == ("", False, 2)
    scripted = torch.jit.script(nn.Sequential(*layers))
    assert fit_in(tmp_path, scripted, data, Recipe(epochs=1), quiet)[0].model


class Odd(Session8Net):
    """Keeps a sparse buffer, and a state that is no tensor."""

    def __init__(self):
        super().__init__()
        self.register_buffer("sparse", torch.eye(3).to_sparse())

    def get_extra_state(self):
        return {"counted": 3}

    def set_extra_state(self, state):
        assert state == {"counted": 3}


def test_a_network_of_odd_states(data, tmp_path):
    lines = []
    for _ in range(2):
        torch.manual_seed(0)
        fit_in(tmp_path, Odd(), data, Recipe(epochs=1), lines.append)
    assert any("trained before" in line for line in lines)


def test_a_state_that_could_not_be_read_back_is_refused(data, tmp_path):
    model = Odd()
    model.get_extra_state = lambda: np.array([3])
    with pytest.raises(ValueError, match="state must be tensors and plain values"):
        fit_in(tmp_path, model, data, Recipe(epochs=1), quiet)
    assert not [path for path in tmp_path.rglob("*.*") if path.name != ".lock" and path.is_file()]
