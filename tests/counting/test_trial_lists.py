"""Trial lists of speaker and face recognition: the line in the message makes them a table."""

import subprocess

import numpy as np
import pytest

import opis_cli as opis
from opis_cli.errors import InputError

PAIRS = 400


def made():
    """Scores of pairs in steps of 0.001, and whether each pair is genuine."""
    rng = np.random.default_rng(5)
    genuine = rng.random(PAIRS) < 0.3
    return rng.normal(0.4 + 0.3 * genuine, 0.1).round(3), genuine


def names(k):
    return f"id1/{k % 20:05d}.wav", f"id2/{k:05d}.wav"


def write(file, rows, end="\n"):
    file.write_bytes("".join(" ".join(map(str, row)) + end for row in rows).encode())


def line_of(file):
    """The line of shell that the refusal of a file names."""
    with pytest.raises(InputError, match="This looks like a list with") as error:
        opis.evaluate(file, pairs=True)
    return "awk " + str(error.value).partition(": awk ")[2]


def check(line, folder):
    """Run the line, and compare what opis counts on its table with counts by hand."""
    subprocess.run(["sh", "-c", line], cwd=folder, check=True)
    score, genuine = made()
    run = opis.evaluate(folder / "pairs.csv", pairs=True, max_far=0.05)
    at = run.report.recommendation
    assert (run.report.pairs.genuine, run.report.pairs.impostor) == (
        genuine.sum(),
        (~genuine).sum(),
    )
    assert at.accepted_impostors == np.sum(score[~genuine] >= at.equivalents.score)
    assert at.rejected_genuine == np.sum(score[genuine] < at.equivalents.score)


# What each layout writes of pair k, with its score and truth.
WITH_SCORES = {
    "score and word": lambda k, s, g: (s, "target" if g else "nontarget"),
    "word and score": lambda k, s, g: ("target" if g else "nontarget", s),
    "score and digit": lambda k, s, g: (s, int(g)),
    "VoxCeleb with scores": lambda k, s, g: (int(g), *names(k), s),
    "Kaldi with scores": lambda k, s, g: (*names(k), s, "target" if g else "nontarget"),
    "scores behind Kaldi": lambda k, s, g: (*names(k), "target" if g else "nontarget", s),
    # An identity may be a number: "01" and "1" are two.
    "four columns": lambda k, s, g: ("01", "01" if g else "1", f"probe{k}", s),
    "five columns": lambda k, s, g: ("a", f"m{k}", "a" if g else f"b{k}", f"probe{k}", s),
}


@pytest.mark.parametrize("layout", WITH_SCORES.values(), ids=WITH_SCORES)
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["unix", "windows"])
def test_a_list_with_scores(layout, end, tmp_path):
    file = tmp_path / "it's=a $list.scores"
    write(file, [layout(k, *one) for k, one in enumerate(zip(*made(), strict=True))], end)
    check(line_of(file), tmp_path)


TRIALS = {
    "VoxCeleb": lambda k, g: (int(g), *names(k)),
    "Kaldi": lambda k, g: (*names(k), "target" if g else "nontarget"),
    "digits behind": lambda k, g: (*names(k), int(g)),
}


@pytest.mark.parametrize("layout", TRIALS.values(), ids=TRIALS)
@pytest.mark.parametrize("scores", ["alone", "named", "shuffled"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["unix", "windows"])
def test_a_list_beside_its_scores(layout, scores, end, tmp_path):
    score, genuine = made()
    write(tmp_path / "trials", [layout(k, g) for k, g in enumerate(genuine)], end)
    order = np.arange(PAIRS)
    if scores == "shuffled":
        order = np.random.default_rng(0).permutation(PAIRS)
    rows = [(score[k],) if scores == "alone" else (*names(k), score[k]) for k in order]
    write(tmp_path / "out.scores", rows, end)
    line = line_of(tmp_path / "trials")
    assert line.count("SCORES") == 1
    check(line.replace("SCORES", "out.scores"), tmp_path)


def test_a_trial_that_has_no_score_stays_one_without(tmp_path):
    score, genuine = made()
    write(tmp_path / "trials", [(int(g), *names(k)) for k, g in enumerate(genuine)])
    write(tmp_path / "some", [(*names(k), score[k]) for k in range(PAIRS) if k % 4])
    line = line_of(tmp_path / "trials").replace("SCORES", "some")
    subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True)
    run = opis.evaluate(tmp_path / "pairs.csv", pairs=True, missing_score="reject")
    assert run.report.pairs.unscored_genuine == genuine[::4].sum()
    assert run.report.pairs.unscored_impostor == (~genuine[::4]).sum()


@pytest.mark.parametrize("row", [("0.53",), ("a.wav", "b.wav", "0.53")])
def test_scores_without_truths_ask_for_the_trials(row, tmp_path):
    write(tmp_path / "s.txt", [row] * 3)
    with pytest.raises(InputError, match="give the list of trials"):
        opis.evaluate(tmp_path / "s.txt", pairs=True)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"a b\nc\n", b"one two\n", b"\x00\xff 1\n", b"x" * 100_000]
)
def test_any_other_text_is_refused_as_before(content, tmp_path):
    (tmp_path / "p.txt").write_bytes(content)
    with pytest.raises(InputError, match=r"empty|the suffix '\.txt' is not known") as error:
        opis.evaluate(tmp_path / "p.txt", pairs=True)
    assert "looks like" not in str(error.value)
