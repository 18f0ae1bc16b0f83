import pandas as pd
import pytest
import torch

from era8.data import normalise
from era8.evaluate import accuracy, predict
from study import inside
from study.inside import CHANGES, batch_accuracy, change, cut_accuracy, cut_skip


def test_only_batch_norm_minds_the_batch(model, split):
    as_used = accuracy(predict(model, split), split.labels)
    found = batch_accuracy(model, split, [2, 7, 200])
    assert list(found.index) == [2, 7, 200]
    if model.norm == "bn":
        whole = model.train()(normalise(split.images)).detach()
        assert found[200] == pytest.approx(accuracy(whole, split.labels))
        assert found[2] != as_used
    else:
        assert (found == as_used).all()


def test_cutting_both_skips_leaves_the_network_without(model, split):
    found, whole = cut_accuracy(model, split), predict(model, split)
    assert list(found.index) == ["whole", "first", "second", "both"]
    assert found["whole"] == accuracy(whole, split.labels)
    with cut_skip(model, "first"), cut_skip(model, "second"):
        cut = predict(model, split)
    assert predict(model, split).equal(whole)  # what was cut is there again
    model.skip = False
    torch.testing.assert_close(cut, predict(model, split), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(cut, whole, rtol=1e-3, atol=1e-4)


def test_cutting_one_skip_leaves_the_other(model, split):
    """The network with the first skip cut, written out once more."""
    with cut_skip(model, "first"):
        found = predict(model, split)
    m = model.eval()
    x = m.P1(m.c3(m.C2(m.C1(normalise(split.images)))))
    stage2 = m.P2(m.c7(m.C6(m.C5(m.C4(x)))))
    logits = m.c11(m.GAP(m.C10(m.C9(m.C8(stage2))) + stage2)).flatten(1)
    torch.testing.assert_close(found, logits, rtol=1e-3, atol=1e-4)


def test_contrast_is_drawn_towards_the_mean_grey_of_each_image(split):
    images = split.images[:20]
    for factor in (1.0, 0.5, 0.1):
        changed = change(images, "contrast", factor).double()
        spread = changed.std(dim=(1, 2, 3)) / images.double().std(dim=(1, 2, 3))
        torch.testing.assert_close(spread, torch.full_like(spread, factor), rtol=0.03, atol=0.01)
        shift = (changed - images.double()).mean(dim=(1, 2, 3))
        torch.testing.assert_close(shift, torch.zeros_like(shift), rtol=0, atol=0.5)


def test_each_change_grows_with_its_amount(split):
    images = split.images[:20]
    assert change(images, "contrast", 1.0).equal(images)
    for kind, (_, amounts) in CHANGES.items():
        changes = [(change(images, kind, a).float() - images).abs().mean() for a in amounts]
        assert 0 < changes[0] < changes[1] < changes[2]
    red, *others = (change(images, "colour", 0.2).float() - images).unbind(1)
    assert red.min() >= 0 and red.mean() > 20 and not any(other.any() for other in others)


def test_what_was_measured_in_other_networks_is_refused(tmp_path):
    table = pd.read_csv(inside.MEASURED)
    path = tmp_path / "inside.csv"
    table[table.norm != "gn"].to_csv(path, index=False)
    other, damaged = path.read_bytes(), (b"", b"norm,skip\nbn,True\n", b"\x80\x81")
    for content in (other, *damaged):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"must hold the 16 networks .*python -m study.inside"):
            inside.load_measured(path)


def test_the_networks_are_those_of_the_records():
    """What was measured without any change is what the record of the run says."""
    table = inside.load_measured()
    plain = table[(table.measure == "batch") & (table["at"] == "0")]
    runs = inside.load_kept().merge(plain, on=["norm", "skip", "seed"])
    assert len(runs) == len(plain) == 16
    assert (runs.value - runs.test_accuracy).abs().max() < 3e-4


def test_calibration_of_guesses_that_are_known():
    """60 images, sure to 90 %, of which 54 are right; 40, sure to 55 %, of which 30 are."""
    sure = torch.tensor([0.9] * 60 + [0.55] * 40)
    labels = torch.tensor([0] * 54 + [1] * 6 + [0] * 30 + [1] * 10)
    logits = torch.stack([sure, 1 - sure], 1).log()
    found = inside.calibrate(logits, labels)
    assert found["0.55"] == pytest.approx(0.75) and found["0.95"] == pytest.approx(0.9)
    assert found["error"] == pytest.approx(0.4 * 0.2) and len(found) == 3
    assert list(inside.calibrate(logits[:29], labels[:29]).index) == ["error"]  # too few to say
