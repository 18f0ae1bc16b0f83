"""The records bear out what the pages say in words."""

import re

import pandas as pd
import pytest
from statsmodels.formula.api import ols

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
    over_bare = norms_and_skips.bare_effects()
    leads = norms_and_skips.norm_effects(long)
    depth = norms_and_skips.skip_effects(deep)
    batches = settings.batch_leads(settings.load_batches())
    large = batches[batches.batch_size == 512]
    skips, equal = norms_and_skips.skip_effect(long), norms_and_skips.equivalences(long)["all"]
    assert (over_bare.difference > 0.015).all() and (leads.difference > 0).all()
    assert (depth.difference > 0).all() and (large.difference > 0).all() and skips.difference > 0
    claims = [
        *over_bare.p,
        *leads.p,
        skips.p,
        equal,
        *depth.p,
        *large.p,
        _growth("gn"),
        _growth("ln"),
    ]
    assert max(holm(claims)) < 0.05


def _growth(norm, small=None):
    """p that BN's lead over a norm is larger with 512 images in a batch than with 128."""
    runs = settings.load_batches()
    small = runs[runs.batch_size == 128] if small is None else small
    runs = pd.concat([runs[runs.batch_size == 512], small]).query("norm in ('bn', @norm)")
    fit = ols("test_accuracy ~ (norm == 'bn') * (batch_size == 512)", runs).fit(cov_type="HC3")
    assert fit.params.iloc[-1] > 0
    return fit.pvalues.iloc[-1]


def test_the_findings_that_need_no_test():
    groups = settings.load_groups().query("groups == 16").groupby("skip").test_accuracy
    assert groups.max()[False] == 0.1 and groups.min()[True] > UNTRAINED
    quarter = inside.numbers()["quarter"]
    assert quarter["max"]["bn"] < 0.5 < 0.7 < min(quarter["min"]["gn"], quarter["min"]["ln"])
    assert inside.numbers()["quarter_in_batches"] > 0.7


def test_what_the_study_says_beside_the_findings():
    bare = load_part("long", "bare").query("norm == 'none'")
    learn = bare.groupby(["init", "weight_decay", "skip"]).test_accuracy.agg(["median", "min"])
    assert learn.loc["torch", 0.0001, False]["median"] < UNTRAINED
    assert (learn["min"].drop(("torch", 0.0001, False)) > 0.7).all()
    kinds = settings.layer_norm_effects(settings.load_layer_norms()).set_index("one")
    assert kinds.high["ln_c"] < 0 and kinds.p_holm["ln_c"] < 0.05 < kinds.p["ln_chw"]
    assert settings.numbers()["pixel_over_bare"].high < 0
    first = norms_and_skips.first_effects().set_index("norm")
    assert first.p_holm["gn"] < 0.05 < first.p_holm["ln"] < first.p_holm["bn"]
    assert first.difference["ln"] < first.difference["gn"] < 0
    early = norms_and_skips.norm_effects(load_part("two_epochs"))
    assert (early.low > 0).all()
    assert _growth("gn", load_part("steps")) < 0.05
    assert load_part("instance_first").test_accuracy.min() > UNTRAINED
    decay = load_part("decay").groupby("weight_decay").val_accuracy.mean()
    assert abs(decay[0.0001] - decay[0]) < 0.01


def test_the_start_without_a_norm_was_chosen_on_held_out_images():
    starts = load_part("start").astype({"val_accuracy": float})
    best = starts.groupby(["init", "weight_decay"]).val_accuracy.mean().idxmax()
    bare = norms_and_skips.load_bare()
    assert {best} == set(zip(bare.init, bare.weight_decay, strict=True))


def test_a_round_on_another_machine_says_the_same():
    again = load_part("again")
    assert (norms_and_skips.norm_effects(again, free=["torch"]).low > 0).all()
    assert abs(norms_and_skips.skip_effect(again).difference) < norms_and_skips.MARGIN
    machine = settings.machine_effects()
    assert machine.p_holm.min() > 0.05
    assert machine.difference.abs().max() < norms_and_skips.MARGIN


def test_other_changes_set_the_norms_less_apart_than_contrast():
    changed = inside.numbers()["changed"]
    blur, noise = ([changed[kind, norm, amount] for norm in ("bn", "gn", "ln")]
                   for kind, amount in (("blur", 1.0), ("noise", 0.1)))  # fmt: skip
    assert 0.05 < min(blur[1:]) - blur[0] < 0.2 and 0 < noise[0] - max(noise[1:]) < 0.2


def test_the_notebooks_exercises_end_as_the_study_did():
    small = settings.batch_leads(settings.load_batches()).set_index(["batch_size", "other"])
    assert small.difference[4, "gn"] < 0 < small.difference[32, "gn"]
    two = inside.numbers()["batch"]["bn"]
    assert two["2"] / two["0"] == pytest.approx(2 / 3, abs=0.05)
    large = load_part("batch_rates").query("batch_size == 512 and lr == 0.1").set_index("norm")
    lost = load_part("steps").groupby("norm").test_accuracy.mean() - large.val_accuracy
    assert lost["ln"] > 0.05 and lost["bn"] < 0.02


def test_only_group_norm_is_shown_to_lose_by_the_usual_order():
    first = norms_and_skips.first_effects().set_index("norm")
    assert first.p_holm["gn"] < 0.05 < first.p_holm.drop("gn").min() and first.high["gn"] < 0


def test_batch_norm_leads_in_the_last_epochs_and_not_before():
    leads = norms_and_skips.leads_by_epoch()
    assert set(leads.epoch) == set(range(1, 20)) and set(leads.n_one) == {20}
    assert (leads[leads.epoch == 19].p_holm < 0.05).all()
    assert leads[leads.epoch < 18].p_holm.min() > 0.05
    last = norms_and_skips.norm_effects(load_part("long"))
    assert leads[leads.epoch == 19].difference.tolist() == pytest.approx(last.difference.tolist())


def test_the_best_epoch_is_that_of_each_run():
    table = norms_and_skips.best_epochs()
    long = load_part("long").groupby("norm")
    assert (table["last"] - long.test_accuracy.mean()).abs().max() < 1e-9
    assert set(table.runs) == {20} and (table.is_last >= 19).all()
    assert 0 < (table.best - table["last"]).max() < 0.001


def test_no_rate_helps_in_large_batches():
    rates = settings.tabulate_rates("large_rates").droplevel("skip").T
    assert rates.drop(columns="bn").max().max() < rates["bn"].max() - 0.03
    assert (rates.idxmax() > rates.index.min()).all()  # no rate below those is missing


def test_depth_pays_only_with_skips():
    deeper = norms_and_skips.depth_effects().set_index("skip")
    assert (deeper.low[True] > 0.01).all() and (deeper.high[False] < 0.005).all()
    with_skips = load_part("depth").query("norm == 'gn' and skip").test_accuracy
    eleven = load_part("long").query("norm == 'gn' and not skip").test_accuracy
    other = load_part("depth_other").test_accuracy  # without skips, at the second best rate
    assert welch(with_skips, other)["low"] > 0.02 and welch(other, eleven)["high"] < 0.005


@pytest.mark.parametrize(
    ("part", "tried"), [("depth", "depth_rates"), ("layer_norms", "layer_rates")]
)
def test_runs_have_the_rates_that_were_chosen(part, tried):
    rates = settings.tabulate_rates(tried)
    used = load_part(part).groupby(["norm", "skip"]).lr.unique()
    for kind, (rate,) in used.items():
        assert rates.loc[kind, rate] == rates.loc[kind].max()


def test_the_long_runs_have_the_rates_that_were_chosen():
    best = settings.tabulate_rates().groupby("norm").mean().idxmax(axis=1)
    used = load_part("long").groupby("norm").lr.agg(["min", "max"])
    assert (used["min"] == used["max"]).all() and (used["min"] == best).all()


def test_the_runs_share_what_they_must():
    long = load_part("long")
    assert set(long.data) == {"cifar10"} and set(long.train_images) == {50_000}
    assert set(long.epochs) == {19} and set(long.norm) == {*FULL_NAMES, "none"}
    plain = Recipe()
    for name in (
        "optimizer",
        "batch_size",
        "momentum",
        "weight_decay",
        "warmup",
        "max_shift",
        "flip",
    ):
        assert set(long[name]) == {getattr(plain, name)}
    short = load_part("two_epochs")
    assert set(short.epochs) == {FAST.epochs} and set(short.batch_size) == {FAST.batch_size}
    deep = load_part("depth", "depth_short")
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


def test_with_four_images_in_a_batch_half_the_rules_rate_is_better():
    runs = load_part("batch_rates").query("batch_size == 4").astype({"val_accuracy": float})
    rates = runs.pivot(index="lr", columns="norm", values="val_accuracy").to_numpy()
    assert (rates[0] - rates[1] > 0.01).all() and (rates[1] > rates[2]).all()
