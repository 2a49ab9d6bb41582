"""The README of a remedy: how to deploy it, what to store, and what it costs."""

from opis_cli import decimals
from opis_cli.remedies.fitted import Fitted
from opis_cli.remedies.normalisations import Normalisation
from opis_cli.remedies.recipes import name_of
from opis_cli.remedies.trial import JUDGED, Tried
from opis_cli.text import human_count, in_markdown, plain, rate


def guide(
    fitted: Fitted, base: Tried, tried: Tried, max_far: float, threshold: float | None, classes: int
) -> str:
    """Return the text of the README of a remedy, in Markdown.

    Parameters
    ----------
    fitted : Fitted
    base, tried : Tried
        The rows as they are, and the remedy, on held-out classes.
    max_far : float
    threshold : float, optional
        Threshold of ``threshold.json``, on the scale of its scores.
    classes : int
        Number of classes that the trial held out, each once.
    """
    name, last = name_of(fitted.recipe), fitted.normalisation
    lines = [
        f"# Remedy {name}",
        "",
        f"Tried on {classes:,} held-out classes, it changes the FRR at FAR {rate(max_far)} from "
        f"{rate(base.figures[JUDGED])} to {rate(tried.figures[JUDGED])}: {tried.verdict}.",
        "It is fitted on all of these classes. `remedy.json` has all figures.",
        "",
        "## What to do",
        "",
        f"1. Once, to every stored vector: {_once(fitted)}.",
        f"2. At query time, to the vector of the query: {_query(fitted)}.",
        "3. " + _accept(fitted, threshold),
        "",
        *_by_group(fitted, threshold),
        "```sh",
        "opis apply THIS_FOLDER vectors.parquet -o changed.parquet",
        "```",
        "",
        "does the first two for a file. In Python:",
        "",
        "```python",
        "import opis_cli as opis",
        "",
        'remedy = opis.load_remedy("THIS_FOLDER")',
        *_in_python(last),
        "```",
        "",
        "## What it costs",
        "",
        "| | before | with the remedy |",
        "|---|---|---|",
        f"| bytes to store a row (float32) | {4 * fitted.dim:,} | {4 * fitted.width:,} |",
        f"| multiplications to compare two rows | {fitted.dim:,} | {fitted.width:,} |",
        f"| multiplications to prepare a query | 0 | {human_count(_operations(fitted))} |",
        f"| bytes to keep beside the rows | 0 | {human_count(_kept(fitted))} |",
        "",
        "## What to mind",
        "",
        "- It belongs to the model of these embeddings. Fit another one when the model changes.",
        *_minds(last),
        "",
    ]
    return "\n".join(lines)


def _once(fitted: Fitted) -> str:
    transforms = [str(step) for step in fitted.recipe if step.is_transform]
    parts = [f"{' and '.join(transforms)}, then unit length" if transforms else "unit length"]
    last = fitted.normalisation
    if last is not None:
        parts.append(f"then append {_numbers(last)} (`gallery` of `opis apply`)")
    return ", ".join(parts)


def _query(fitted: Fitted) -> str:
    if fitted.normalisation is None:
        return "the same"
    return f"the same steps, in its query form (`query` of `opis apply`): {_source(fitted)}"


def _numbers(last: Normalisation) -> str:
    if last.groups is not None:
        return "the offsets of its group against every group"
    if last.centroids is not None:
        return "half the offset of its nearest centroid"
    if last.step.kind == "csls":
        return "its mean similarity to the closest rows of the cohort"
    return "the vector divided by its deviation, and its mean, over the closest rows of the cohort"


def _source(fitted: Fitted) -> str:
    last = fitted.normalisation
    assert last is not None
    if last.cohort is not None:
        return f"it is compared with the {len(last.cohort.units):,} rows of the cohort"
    return "its group is looked up" if last.groups is not None else "its centroid is looked up"


def _accept(fitted: Fitted, threshold: float | None) -> str:
    score = (
        "cosine similarity"
        if fitted.normalisation is None
        else "inner product of query and gallery"
    )
    if threshold is None:
        return f"The score is the {score}. No threshold holds the bound; set one yourself."
    if fitted.normalisation is None:
        return (
            f"Accept a pair whose cosine distance is at most {decimals.text(threshold)} "
            "(`threshold.json`)."
        )
    return f"Accept a pair whose {score} is at least {decimals.text(threshold)} (`threshold.json`)."


def _by_group(fitted: Fitted, threshold: float | None) -> list[str]:
    """Return the thresholds by group that the score stands for, as a table."""
    last = fitted.normalisation
    if last is None or last.groups is None or threshold is None:
        return []
    assert last.offsets is not None
    return [
        "Without the two forms, these are thresholds by group. Accept a pair whose cosine",
        "similarity is at least that of its group, or the larger of two across groups:",
        "",
        "| group | cosine similarity |",
        "|---|---|",
        *(
            f"| {in_markdown(plain(name))} | {threshold + offset:.5f} |"
            for name, offset in zip(last.groups.tolist(), last.offsets.tolist(), strict=True)
        ),
        f"| any other | {threshold:.5f} |",
        "",
    ]


def _in_python(last: Normalisation | None) -> list[str]:
    if last is None:
        return ["changed = remedy.transform(vectors)", "scores = remedy.score(a, b)  # cosine"]
    groups = ", groups=groups" if last.groups is not None else ""
    both = ", groups=(groups_a, groups_b)" if last.groups is not None else ""
    return [
        f"query, gallery = remedy.forms(vectors{groups})  # score: query @ gallery.T",
        f"scores = remedy.score(a, b{both})",
    ]


def _operations(fitted: Fitted) -> int:
    """Return the number of multiplications that prepare a query."""
    count = sum(
        fitted.dim if transform.matrix is None else fitted.dim**2 for transform in fitted.transforms
    )
    last = fitted.normalisation
    if last is not None and last.cohort is not None:
        count += last.cohort.units.size
    if last is not None and last.centroids is not None:
        count += last.centroids.size
    return count + fitted.dim


def _kept(fitted: Fitted) -> int:
    """Return the number of bytes that a deployed remedy keeps, as float32."""
    count = sum(
        transform.mean.size + (0 if transform.matrix is None else transform.matrix.size)
        for transform in fitted.transforms
    )
    last = fitted.normalisation
    if last is not None and last.cohort is not None:
        count += last.cohort.units.size
    if last is not None and last.centroids is not None:
        count += last.centroids.size
    return 4 * count


def _minds(last: Normalisation | None) -> list[str]:
    if last is None:
        return []
    if last.cohort is not None:
        return [
            "- A row is compared with cohort rows of other classes only. `opis apply` leaves out "
            "those of its own class where the file has labels. Without labels, the cohort must "
            "hold no class that is searched for.",
        ]
    if last.groups is not None:
        return [
            "- A row needs its group, at query time too. A group that the remedy does not know, "
            "or that was too small, has the threshold of all rows.",
            "- A pair across groups is judged at the stricter of the two thresholds.",
        ]
    return []
