"""CIFAR-10: found or fetched, verified, held on a device, and drawn in batches."""

from era8.data.load import (
    CLASSES,
    MEAN,
    STD,
    SYNTHETIC_IMAGES,
    TRAIN_IMAGES,
    Data,
    Split,
    load_cifar10,
    load_data,
    load_synthetic,
    normalise,
)
