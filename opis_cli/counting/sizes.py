"""From what size on counting goes another way. Tests pass others, to go all ways on small data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of pairs, rows, classes and bytes at which counting changes its ways.

    Attributes
    ----------
    exhaustive_pairs : int
        Pairs: the pilot looks at all of so many, and at a sample of more.
    pilot_rows : int
        Rows of each of the two samples whose product a pilot looks at.
    small_pairs : int
        Pairs: of so many, impostors are counted by class at every threshold. Beyond, that takes
        time, and they are counted so in the window and at a few more.
    small_counts : int
        Classes times thresholds: up to so many, the axis beyond the window gets 2,048 thresholds,
        else 127.
    checkpoint_pairs, pairs_per_byte : int
        Pairs between two partial counts that are kept: at least the first, and the second for each
        byte to write, so that writing costs little beside counting.
    tile_side : int, optional
        Rows of a side of the tiles; what the engine likes by default.
    half_classes : int
        Classes that are split in halves, at most: a random choice of more would tell little more.
    half_most_rows : int
        Rows of such a class that are used, at most.
    half_rows, half_values : int
        Rows of all halves, and values in their vectors, at most: new memory takes time too.
    gallery_rows, gallery_pairs, gallery_of_all : int
        Rows of a random gallery for the halves, and pairs with it, at most; of so many rows in
        all, every one is in it.
    sampled_scores : int
        Scored pairs that are held at first, to place thresholds by.
    batch_rows : int
        Scored pairs that are read at a time.
    dense_cells : int
        Groups times thresholds: beyond so many, groups are counted at fewer thresholds.
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
    sampled_scores: int = 1 << 21
    batch_rows: int = 1 << 17
    dense_cells: int = 40_000_000


SIZES = Sizes()
