import os

import numpy as np
import pytest

from era8 import Session8Net
from era8.models import NormFirstNet
from era8.run import Run
from era8.sweep.grid import expand, read_grid, read_options, read_parts


def names(*blocks):
    return [cell.name for cell in expand(blocks)]


def test_every_combination_once_in_order():
    axes = {"norm": ["bn", "gn"], "skip": [True, False], "seed": "0..1"}
    assert names(axes) == [
        "bn-seed=0-epochs=19", "bn-seed=1-epochs=19",
        "bn-seed=0-epochs=19-skip=False", "bn-seed=1-epochs=19-skip=False",
        "gn-seed=0-epochs=19", "gn-seed=1-epochs=19",
        "gn-seed=0-epochs=19-skip=False", "gn-seed=1-epochs=19-skip=False",
    ]  # fmt: skip
    assert names(axes, {"norm": "bn", "seed": 1}) == names(axes)


def test_a_name_has_the_seed_the_epochs_and_what_is_not_the_default():
    other = {"crop": 0, "epochs": 2, "batch_size": 64, "seed": 1, "flip": True}
    assert names(other) == ["bn-seed=1-epochs=2-batch_size=64-crop=0"]
    other = {"optimizer": "sgd", "init": "he", "skip": False, "model": "deep", "norm": "none"}
    assert names(other) == [
        "none-seed=0-epochs=19-model=deep-skip=False-init=he-optimizer=sgd-lr=0.1"
    ]


def test_an_empty_grid_is_one_run_of_the_defaults():
    assert expand([{}]) == [Run()] and type(Run().make_model()) is Session8Net


def test_strings_are_read_as_the_type_of_the_setting():
    assert len(expand([read_options("--norm bn --norm gn".split())])) == 2
    assert read_options("--crop 0 --max-shift 2".split()) == {"max_shift": ["0", "2"]}
    words = "--norm gn --skip false true --lr 1e-1 1 --batch-size=32 --seed 3 5..6".split()
    cells = expand([read_options(words)])
    assert len(cells) == 2 * 2 * 3
    assert (cells[0].skip, cells[0].lr, cells[0].batch_size) == (False, 0.1, 32)
    assert [cell.seed for cell in cells[:3]] == [3, 5, 6]
    assert {type(cell.lr) for cell in cells} == {float}


def test_groups_mean_nothing_to_other_norms():
    assert names({"norm": ["bn", "gn"], "groups": [1, 4]}) == [
        "bn-seed=0-epochs=19", "gn-seed=0-epochs=19-groups=1", "gn-seed=0-epochs=19-groups=4",
    ]  # fmt: skip


def test_a_cell_makes_the_network_of_its_settings():
    (cell,) = expand([{"model": "norm_first", "norm": "gn", "groups": 4, "init": "he"}])
    model = cell.make_model()
    assert isinstance(model, NormFirstNet)
    assert (model.norm, model.skip, model.groups, model.init) == ("gn", True, 4, "he")


def test_a_file_of_one_grid_or_of_several(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("norm: [bn, ln]\nseed: 0..1\nlr: 0.2\n")
    assert names(*read_grid(path)) == names({"norm": ["bn", "ln"], "seed": [0, 1], "lr": 0.2})
    path.write_text("- {norm: bn, lr: 0.2}\n- {norm: [gn, ln], lr: 0.1}\n")
    assert names(*read_grid(path)) == [
        f"{norm}-seed=0-epochs=19-lr={lr}" for norm, lr in (("bn", 0.2), ("gn", 0.1), ("ln", 0.1))
    ]


def test_a_file_of_named_parts(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("long: {seed: 0..1}\ngroups:\n- {norm: gn, groups: 4}\n- {norm: ln}\n")
    long, groups = {"seed": "0..1"}, [{"norm": "gn", "groups": "4"}, {"norm": "ln"}]
    assert read_parts(path) == {"long": [long], "groups": groups}
    assert read_grid(path) == [long, *groups]
    path.write_text("groups: {norm: gn, groups: 4}")  # a part, though a setting has its name
    assert read_parts(path) == {"groups": groups[:1]}
    path.write_text("norm: gn\ngroups: 4")
    assert read_parts(path) == {"": groups[:1]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("long: {seed: 1}\nshort: 3", "settings and their values; got '3' in part 'short'"),
        ("long: {seed: 1}\nshort: []", r"settings and their values; got \[\] in part 'short'"),
        ("long: [{seed: 1}, {}]", "settings and their values; got {} in part 'long'"),
        ("seed: 1\nlr: 0.1\nseed: 2", "the mapping of line 1 has 'seed' twice; give it once"),
        ("a: {lr: 1}\nb:\n- {lr: 1, lr: 2}", "the mapping of line 3 has 'lr' twice; give it once"),
        ("[" * 2000, "maximum recursion depth exceeded.*"),
        ("seed: !!int x", "invalid literal for int.*"),
        ("crop: 1\nmax_shift: 2", "has 'max_shift' twice; give it once"),
        ("a: {lr: 1}\na: {lr: 2}", "the mapping of line 1 has 'a' twice; give it once"),
    ],
)
def test_a_file_of_parts_that_cannot_be_read(tmp_path, text, message):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"study.yaml .*{message}$"):
        read_grid(path)


def test_a_file_says_what_is_written_there(tmp_path):
    """YAML 1.1 would take 010 for 8, 1:30 for 90 and yes for true."""
    path = tmp_path / "grid.yaml"
    path.write_text("# für später\n{seed: 010, lr: 1e-1, skip: false}", encoding="utf-8")
    assert expand(read_grid(path)) == expand([{"seed": 10, "lr": 0.1, "skip": False}])
    for text in ("seed: 1:30", "seed: 0x10", "seed: 2020-01-01", "skip: yes", "norm: ~"):
        path.write_text(text)
        with pytest.raises(ValueError, match="must be (of type|true or false)"):
            expand(read_grid(path))


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "grid.yaml")
    with pytest.raises(FileNotFoundError, match="grid.yaml must be a file of settings"):
        read_grid(tmp_path / "grid.yaml")


def test_numbers_of_numpy_are_those_of_python():
    table = {"seed": list(np.arange(2)), "lr": [np.float32(0.5)], "skip": [np.False_]}
    plain = {"lr": 0.5, "skip": False, "groups": 4}
    cell, _ = expand([table | {"norm": "gn", "groups": [4]}])
    assert cell == expand([{"norm": "gn"} | plain])[0]
    assert {type(value) for value in cell.settings.values()} == {str, bool, int, float}


@pytest.mark.parametrize(
    "text", ["", "[]", "[]\n- 3", "just words", "3", "- 3", "a: b: c", "{", "{}"]
)
def test_a_file_of_something_else(tmp_path, text):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="study.yaml (is no YAML file|must hold settings)"):
        read_grid(path)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"norms": "bn"}, "'norms' is no setting of a run; there are epochs, seed, batch_size"),
        ({3: "bn"}, "3 is no setting of a run"),
        ({"norm": "bm"}, "norm must be one of bn, gn, ln, none, ln_c, ln_chw, module:Class of y"),
        ({"model": "resnet"}, "module:Class of your own; got 'r"),
        ({"init": "zero"}, "init must be one of torch, he; got 'zero'"),
        ({"norm": "ln_chw"}, "fewer than 50,000 parameters, the assignment's limit; got 159,568"),
        ({"norm": []}, "norm must have at least one value"),
        ({"norm": None}, "norm must be of type str; got None"),
        ({"norm": "gn", "groups": 3}, "divides the 16 channels; got 3"),
        ({"seed": "4..0"}, "seed must be a range such as 0..4; got '4..0'"),
        ({"seed": "0..99999999"}, "seed must be a range such as"),
        ({"seed": "one"}, "seed must be of type int; got 'one'"),
        ({"skip": "perhaps"}, "skip must be true or false; got 'perhaps'"),
        ({"skip": 1}, "skip must be true or false; got 1"),
        ({"norm": "ln_chw", "limits": False, "small": 2}, "low_res_epochs must be 0 with ln_chw"),
        ({"train_images": 50_001}, "train_images must be .* from 1 to 50,000; got 50001"),
        ({"train_images": 100, "val_images": 100}, "val_images must be .* from 0 to 99; got 100"),
        ({"train_images": 100, "val_images": 50}, "batch_size must be at most the 50 training"),
    ],
)
def test_what_cannot_be_trained_is_refused(axes, message):
    with pytest.raises(ValueError, match=message):
        expand([axes])


def test_words_before_the_first_setting():
    with pytest.raises(ValueError, match="must begin with a setting such as --norm; got 'bn'"):
        read_options(["bn", "--seed", "1"])


def test_cells_are_told_apart_by_their_names():
    first, second = expand([{"lr": [0.1, 0.15]}])
    assert first.name != second.name and first == Run(**first.settings) != second


def test_zero_has_no_sign():
    assert names({"weight_decay": ["0", "-0.0"]}) == ["bn-seed=0-epochs=19-weight_decay=0.0"]


def test_former_names_of_settings_are_taken():
    assert names({"crop": 0, "small": 1}) == names({"max_shift": 0, "low_res_epochs": 1})


def test_nested_aliases_take_no_memory(tmp_path):
    """Each level has ten times as many values as the one before: written out, terabytes."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    path = tmp_path / "grid.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match="a0' is no setting of a run"):
        expand(read_grid(path))
    path.write_text("\n".join([f"- {line}" for line in lines] + ["- *a11"]))
    with pytest.raises(ValueError, match="must hold settings and their values; got"):
        read_grid(path)
    path.write_text("\n".join([*lines, "seed: *a11"]).replace("a0:", "norm:", 1))
    with pytest.raises(ValueError, match="is no setting of a run|must be of type"):
        expand(read_grid(path))
