"""Pages for tests, and what a reader of their data finds in them."""

import base64
import json
import re
import zlib

import data
import numpy as np

import opis_cli as opis
from opis_cli.report.build import build_report
from opis_cli.report.evaluation import Evaluation
from opis_cli.report.records import SourceFacts
from opis_cli.settings import Settings

HOSTILE = (
    "<script>window.pwned=1</script>",
    "</script><script>window.pwned=2</script>",
    "<img src='http://evil.example/x' onerror='window.pwned=3'>",
    "{{ 7 * 7 }}{% raw %}",
    "plain",
    "javascript:window.pwned=4//\u202e\n",
)
SCRIPTS = ("日本語の名前", "اسم عربي", "שם בעברית", "👩\u200d👧", "می\u200cخواهم", "+1 & a=b#c")
"""Names that need their own direction, or joiners, or care in an address."""


def named(names, spread=0.9, rows=240, **settings):
    """A run over classes of these names."""
    vectors, labels = data.blobs(rows, len(names), spread=spread)
    return opis.evaluate(vectors, np.array(list(names), object)[labels], **settings)


def data_of(text):
    """The data of a page, as its script reads them."""
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])


def unpacked(found):
    """Pooled counts and counts by class of a page: four arrays."""
    raw, values, value, place = zlib.decompress(base64.b64decode(found["counts"])), [], 0, 0
    for byte in raw:
        value |= (byte & 127) << place
        place += 7
        if byte < 128:
            values.append(-(value + 1) // 2 if value % 2 else value // 2)
            value = place = 0
    grid, points = len(found["scales"][0]["values"]), len(found["at"])
    size = len(found["classes"]["name"])
    shapes = ((1, grid), (1, grid), (size, points), (size, points))
    tables = []
    for rows, columns in shapes:
        steps, values = values[: rows * columns], values[rows * columns :]
        tables.append(np.cumsum(np.reshape(steps, (rows, columns)), axis=1))
    assert not values
    return tables


def made_counts(classes, points=600, rows=10, *, seed=0):
    """Counts of many classes, made up: pairs at normal deviates that differ by class."""
    from scipy.special import ndtr

    rng = np.random.default_rng(seed)
    thresholds = np.round(np.linspace(0.01, 1.2, points), 6)
    centre, other = rng.uniform(0.3, 0.6, (classes, 1)), rng.uniform(0.75, 1.05, (classes, 1))
    genuine = np.rint(ndtr((thresholds - centre) / 0.12) * rows * (rows - 1) / 2)
    impostor = np.rint(ndtr((thresholds - other) / 0.1) * rows * rows * (classes - 1))
    genuine[:, -1], impostor[:, -1] = rows * (rows - 1) / 2, rows * rows * (classes - 1)
    impostor = 2 * (impostor.astype(np.int64) // 2)
    return data.hand_made(
        genuine.astype(np.int64), impostor, np.full(classes, rows), thresholds.tolist()
    )


def run_of(counts, **settings):
    """A run of made-up counts."""
    chosen = Settings(**settings)
    facts = SourceFacts(
        path="made",
        sha256="0" * 64,
        labels_sha256=None,
        rows=int(counts.sizes.sum()),
        dim=2,
        classes=len(counts.sizes),
        evaluable_classes=len(counts.sizes),
        singleton_classes=0,
        dropped_rows=0,
    )
    return Evaluation(counts, build_report(counts, facts, chosen))
