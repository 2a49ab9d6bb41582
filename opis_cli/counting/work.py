"""Tell one piece of counting work from another, so that counts of two are never added."""

import hashlib
import json

from opis_cli.records import Embeddings
from opis_cli.settings import ABOUT, Settings

_LAYOUT = 5
"""Version of the arrays of a tally, as files keep them, and of the way that parts are divided.

Raise it when either changes. Older partial counts then belong to other work, and nothing is added
to them.
"""


def work_of(
    embeddings: Embeddings, settings: Settings, deployed: float | None, engine: str, side: int
) -> str:
    """Return a digest of everything that changes the partial counts of embeddings.

    Parameters
    ----------
    embeddings : Embeddings
    settings : Settings
    deployed : float, optional
        A threshold that must be on the grid.
    engine : str
        Name of the engine that counts.
    side : int
        Rows on a side of its tiles. It is part of the work, because it depends on the device.
    """
    facts = {name: getattr(settings, name) for name in ABOUT if ABOUT[name].changes_counts}
    facts["engine"] = engine
    digests = embeddings.source.digests
    text = json.dumps([_LAYOUT, facts, deployed, digests, side, embeddings.dropped_rows])
    return hashlib.sha256(text.encode()).hexdigest()
