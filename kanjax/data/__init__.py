"""Data: readers of real formats, bundled sets, generators, splits and preprocessing."""

from kanjax.data import augmentation, color, color_transfer, corruptions
from kanjax.data.bags import Bags, bags_from_instances, bit_pattern_bags
from kanjax.data.bundled import NAMES, load
from kanjax.data.compositions import (
    ELEMENTS,
    GAS_CONSTANT,
    Compositions,
    Descriptors,
    Element,
    alloy_descriptors,
    parse_composition,
    parse_compositions,
)
from kanjax.data.errors import DataError
from kanjax.data.examples import Dataset, Examples, Split, Task
from kanjax.data.handwritten import handwritten_digits
from kanjax.data.image_folder import (
    read_image,
    read_image_folder,
    read_image_pairs,
)
from kanjax.data.images import read_cifar, read_idx, read_medmnist
from kanjax.data.preparation import Prepared, prepare
from kanjax.data.preprocessing import Preprocessor, fit_preprocessor
from kanjax.data.splitting import split_fold, split_groups, split_in_time, split_rows
from kanjax.data.synthetic import FUNCTION_SUITE, feynman, friedman
from kanjax.data.tables import Table, read_frame, read_npz, read_table

__all__ = [
    "FUNCTION_SUITE",
    "ELEMENTS",
    "GAS_CONSTANT",
    "NAMES",
    "Bags",
    "Compositions",
    "DataError",
    "Dataset",
    "Descriptors",
    "Element",
    "Examples",
    "Prepared",
    "Preprocessor",
    "Split",
    "Table",
    "Task",
    "augmentation",
    "alloy_descriptors",
    "bags_from_instances",
    "color",
    "color_transfer",
    "corruptions",
    "bit_pattern_bags",
    "feynman",
    "fit_preprocessor",
    "friedman",
    "handwritten_digits",
    "load",
    "parse_composition",
    "parse_compositions",
    "prepare",
    "read_cifar",
    "read_frame",
    "read_idx",
    "read_image",
    "read_image_folder",
    "read_image_pairs",
    "read_medmnist",
    "read_npz",
    "read_table",
    "split_fold",
    "split_groups",
    "split_in_time",
    "split_rows",
]
