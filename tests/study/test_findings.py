"""The records bear out what the pages say in words."""

import re

import pytest

from era8.figures.style import FULL_NAMES
from era8.models import DeepSession8Net
from era8.recipe import FAST, Recipe
from study import inside, norms_and_skips, settings
from study.pages import Writer, collect, list_pictures
from study.runs import load_part
from study.statistics import UNTRAINED, holm, welch


@pytest.fixture(scope="module")
def findings():
    text = Writer(collect(), list_pictures()).write_page("README.md").replace("\xa0", " ")
    section = text.split("## Findings")[1].split("Points are")[0]
    return re.findall(r"^\d\. (.*)$", section, flags=re.MULTILINE)


def test_a_finding_is_a_sentence_with_at_most_two_numbers(findings):
    assert 1 <= len(findings) <= 7
    for finding in findings:
        assert re.match(r"\*\*[^*]+:\*\* [^.]*(\d\.\d[^.]*)*\.$", finding), finding
        assert len(re.findall(r"[+−]?\d+(?:\.\d+)?", finding)) <= 2, finding


def test_every_finding_holds_after_holms_correction_over_all_of_them():
    long, deep = load_part("long"), load_part("depth")
    over_none = norms_and_skips.norm_effects(long[long["skip"]], ("bn",), ["none"])
    leads = norms_and_skips.norm_effects(long)
    depth = norms_and_skips.skip_effects(deep)
    batches = settings.batch_leads(load_part("batch_sizes"))
    large = batches[(batches.batch_size == 512) & (batches.other == "gn")]
    equal = norms_and_skips.equivalences(long)
    assert (over_none.difference > 0).all() and (leads.difference > 0).all()
    assert (depth.difference > 0).all() and (large.difference > 0).all()
    claims = [*over_none.p, *leads.p, *equal.p, *depth.p, *large.p, *_growth()]
    assert max(holm(claims)) < 0.05


def _growth(*others):
    """p that BN's lead over GN is larger with 512 images in a batch than with 128."""
    runs = load_part("batch_sizes")
    large, small = runs[runs.batch_size == 512], runs[runs.batch_size == 128]
    found = welch(*(_lead(some) for some in (large, *(others or [small]))))
    assert found["difference"] > 0
    return [found["p"]]


def _lead(runs):
    gn, bn = (runs[runs.norm == norm].set_index("seed").test_accuracy for norm in ("gn", "bn"))
    return bn - gn


def test_the_findings_that_need_no_test():
    groups = settings.load_groups().query("groups == 16").groupby("skip").test_accuracy
    assert groups.max()[False] == 0.1 and groups.min()[True] > UNTRAINED
    table = inside.load_measured()
    quarter = table[(table.measure == "contrast") & (table["at"] == "0.25")].groupby("norm").value
    assert quarter.max()["bn"] < 0.5 < 0.7 < min(quarter.min()["gn"], quarter.min()["ln"])


def test_what_the_study_says_beside_the_findings():
    long = load_part("long")
    bare = long[long.norm == "none"].groupby("skip").test_accuracy
    assert bare.median()[False] < UNTRAINED < bare.min()[True]
    kinds = settings.layer_norm_effects(settings.load_layer_norms()).set_index("one")
    assert kinds.high["ln_c"] < 0 and kinds.p_holm["ln_c"] < 0.05
    early = norms_and_skips.norm_effects(load_part("two_epochs"))
    assert (early.low > 0).all()
    assert _growth(load_part("steps"))[0] < 0.05
    assert load_part("instance_first").test_accuracy.min() > UNTRAINED
    decay = load_part("decay").groupby("weight_decay").val_accuracy.mean()
    assert abs(decay[0.0001] - decay[0]) < 0.01


def test_the_same_learning_rate_is_best_and_no_rate_helps_in_large_batches():
    rates = load_part("rates")
    rates = rates[rates.groupby(["norm", "skip"]).val_accuracy.transform("max") > UNTRAINED]
    best = rates.loc[rates.groupby(["norm", "skip"]).val_accuracy.idxmax()]
    assert best.lr.nunique() == 1 and len(best) == 7
    rates = load_part("batch_rates").query("batch_size == 512").groupby("norm").val_accuracy.max()
    assert rates.drop("bn").max() < rates["bn"] - 0.03


def test_the_runs_share_what_they_must():
    long = load_part("long")
    assert set(long.data) == {"cifar10"} and set(long.train_images) == {50_000}
    assert set(long.epochs) == {19} and set(long.norm) == {*FULL_NAMES, "none"}
    plain = Recipe()
    for name in ("optimizer", "batch_size", "momentum", "weight_decay", "warmup", "crop", "flip"):
        assert set(long[name]) == {getattr(plain, name)}
    short = load_part("two_epochs")
    assert set(short.epochs) == {FAST.epochs} and set(short.batch_size) == {FAST.batch_size}
    deep = load_part("depth")
    assert set(deep.n_parameters[deep.norm != "none"]) == {
        sum(p.numel() for p in DeepSession8Net().parameters())
    }


def test_the_learning_rate_grows_with_the_square_root_of_the_batch():
    plain = Recipe()
    for size, runs in load_part("batch_sizes").groupby("batch_size"):
        rule = plain.lr * (size / plain.batch_size) ** 0.5
        assert list(runs.lr.unique()) == pytest.approx([rule], rel=0.001)
        if size in (checked := load_part("batch_rates").groupby("batch_size").lr.unique()):
            low, middle, high = sorted(checked[size])
            assert middle == runs.lr.iloc[0] == 2 * low == high / 2
