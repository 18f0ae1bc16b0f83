import pickle

import numpy as np
import pytest
import torch

from era8 import Recipe, Session8Net, fit, load_cifar10, load_data
from era8.data import MEAN, STD, load, load_synthetic, normalise
from era8.data.batches import plain_batches, train_batches


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_reads_the_files_of_cifar10(cifar_folder):
    data = load_cifar10(cifar_folder, "cpu")
    expected = load_synthetic("cpu", train_images=50)
    assert torch.equal(data.train.images, expected.train.images)
    assert torch.equal(data.train.labels, expected.train.labels)
    assert torch.equal(data.test.images, expected.test.images)
    assert data.train.images.dtype == torch.uint8
    assert (data.name, len(data.train), data.val) == ("cifar10", 50, None)


def test_only_what_is_verified_is_unpickled(cifar_folder, tmp_path, monkeypatch):
    """Somebody swaps a file between the search for it and the reading."""

    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "executed"), "w")

    def swapped(root):
        folder = find_or_fetch(root)
        (folder / "data_batch_2").write_bytes(pickle.dumps(Evil()))
        return folder

    find_or_fetch = load.find_or_fetch
    monkeypatch.setattr(load, "find_or_fetch", swapped)
    with pytest.raises(RuntimeError, match="data_batch_2 is damaged"):
        load_cifar10(cifar_folder, "cpu")
    assert not (tmp_path / "executed").exists()


def test_constants_are_float32_whatever_the_default_is(data, monkeypatch):
    images = data.train.images[:5]
    expected = normalise(images)
    load._channels.cache_clear()
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(normalise(images), expected) and normalise(images).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)


def test_synthetic_says_so(cifar_folder):
    assert load_data("synthetic", "cpu", 100).name == "synthetic"
    assert load_data(str(cifar_folder), "cpu", 50).name == "cifar10"


def test_synthetic_pictures_can_be_learned():
    data = load_synthetic("cpu", train_images=600)
    torch.manual_seed(0)
    recipe = Recipe(epochs=3, batch_size=32)
    record = fit(Session8Net("bn"), data, recipe, log=lambda line: None)
    assert record.test_accuracy > 0.4
    assert record.data == "synthetic"


def test_normalise(data):
    images = data.train.images[:5]
    expected = (images.numpy() / 255 - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))
    np.testing.assert_allclose(normalise(images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("crop", "flip"), [(0, False), (0, True), (2, True), (4, False)])
def test_augmentation_equals_a_plain_loop_over_images(data, crop, flip):
    n, draws = len(data.train), generator(7)
    order = torch.randperm(n, generator=draws).tolist()
    top, left, mirror = (
        torch.randint(high, (n,), generator=draws).tolist()
        for high in (2 * crop + 1, 2 * crop + 1, 2 if flip else 1)
    )
    images, labels = zip(*train_batches(data.train, 64, generator(7), crop, flip), strict=True)
    images, labels = torch.cat(images), torch.cat(labels)
    assert torch.equal(labels, data.train.labels[order])
    for position, i in enumerate(order):
        image = data.train.images[i].numpy()
        image = np.pad(image, ((0, 0), (crop, crop), (crop, crop)), mode="reflect")
        image = image[:, top[i] : top[i] + 32, left[i] : left[i] + 32]
        if mirror[i]:
            image = image[:, :, ::-1]
        expected = normalise(torch.from_numpy(image.copy())[None])[0]
        assert torch.equal(images[position], expected)


def test_small_images_are_means_of_the_same_ones(data):
    pairs = (train_batches(data.train, 64, generator(7), low_res=small) for small in (False, True))
    for (images, labels), (small, same) in zip(*pairs, strict=True):
        assert labels.equal(same)
        means = images.unflatten(3, (16, 2)).unflatten(2, (16, 2)).mean((3, 5))
        torch.testing.assert_close(small, means)


def test_draws_differ_from_image_to_image(data):
    """A batch of one repeated picture comes out as all its shifts and both mirror images."""
    repeated = data.train[torch.zeros(300, dtype=torch.long)]
    images, _ = next(train_batches(repeated, 300, generator(), max_shift=1))
    assert len(images.flatten(1).unique(dim=0)) == 3 * 3 * 2


def test_epochs_differ_and_repeat_with_the_seed(data):
    def epochs():
        draws = generator(1)
        return [next(train_batches(data.train, 8, draws))[0] for _ in range(2)]

    first, second = epochs()
    assert not torch.equal(first, second)
    assert torch.equal(first, epochs()[0]) and torch.equal(second, epochs()[1])


def test_test_batches_keep_the_order(data):
    images, labels = zip(*plain_batches(data.test, 7), strict=True)
    assert torch.equal(torch.cat(images), normalise(data.test.images))
    assert torch.equal(torch.cat(labels), data.test.labels)


def test_take_and_hold_out_are_balanced_and_disjoint(data):
    part = data.take(200).hold_out(50)
    assert part.train.labels.bincount().tolist() == [15] * 10
    assert part.val.labels.bincount().tolist() == [5] * 10
    everything = torch.cat([part.train.images, part.val.images]).flatten(1)
    assert len(everything.unique(dim=0)) == 200
    assert torch.equal(part.val.images, data.take(200).hold_out(50).val.images)
    assert part.held_out is part.val and data.held_out is data.test
    assert data.hold_out(0) is data and data.take(300) is data


@pytest.mark.parametrize("n", [0, -1, 50_001, "5000", 1e3])
def test_train_images_are_checked(n):
    with pytest.raises(ValueError, match=f"a whole number from 1 to 50,000; got {n!r}"):
        load_data("synthetic", "cpu", n)


@pytest.mark.parametrize("n", [-1, 300])
def test_hold_out_refuses(data, n):
    with pytest.raises(ValueError, match=f"val_images must be .* from 0 to 299; got {n}"):
        data.hold_out(n)


def test_images_are_held_out_once(data):
    """A cell that is run twice would train on fewer images, unsaid."""
    with pytest.raises(ValueError, match="50 images are held out already; load the data anew"):
        data.hold_out(50).hold_out(50)
