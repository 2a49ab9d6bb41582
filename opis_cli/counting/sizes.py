"""Sizes at which counting changes its method.

Tests pass other sizes, so that small data takes every method.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of pairs, rows, classes and bytes at which counting changes its method.

    Attributes
    ----------
    exhaustive_pairs : int
        Most pairs of which the pilot looks at all. Of more pairs it looks at a sample.
    pilot_rows : int
        Rows in each of the two samples of rows that the pilot compares with each other.
    small_pairs : int
        Most pairs of all rows for which impostor pairs are counted by class at every threshold.
        With more pairs that would take time, so they are counted by class only in the window and at
        a few thresholds beyond it.
    small_counts : int
        Most classes times thresholds for which there are 2,048 thresholds beyond the window. With
        more, there are 127.
    checkpoint_pairs, pairs_per_byte : int
        Pairs that are counted between two checkpoints: at least ``checkpoint_pairs``, and at least
        ``pairs_per_byte`` for each byte to write, so that writing costs little beside counting.
    tile_side : int, optional
        Rows on a side of the tiles; by default the engine's own choice.
    half_classes : int
        Most classes that are split into halves. More random classes would tell little more.
    half_most_rows : int
        Most rows of such a class that are used.
    half_rows, half_values : int
        Most rows of all halves together, and most values in their vectors. Fresh memory for more
        would take time too.
    gallery_rows, gallery_pairs, gallery_of_all : int
        Most rows of a random gallery for the halves; most pairs with it; and the number of rows up
        to which the gallery is all rows.
    split_rows : int
        Most rows of the two halves whose pairs tell the price of one threshold.
    sampled_scores : int
        Most scored pairs of each kind that the first reading keeps, to place thresholds by.
    batch_rows : int
        Scored pairs that are read at a time.
    dense_cells : int
        Most groups times thresholds for which groups are counted at every threshold. With more,
        groups are counted at fewer thresholds.
    """

    exhaustive_pairs: int = 4_000_000
    pilot_rows: int = 1_024
    small_pairs: int = 20_000_000
    small_counts: int = 8_000_000
    checkpoint_pairs: int = 4_000_000_000
    pairs_per_byte: int = 20
    tile_side: int | None = None
    half_classes: int = 2_000
    half_most_rows: int = 256
    half_rows: int = 1 << 15
    half_values: int = 1 << 23
    gallery_rows: int = 512
    gallery_pairs: int = 1 << 22
    gallery_of_all: int = 1_024
    split_rows: int = 4_000
    sampled_scores: int = 1 << 21
    batch_rows: int = 1 << 17
    dense_cells: int = 40_000_000


SIZES = Sizes()
