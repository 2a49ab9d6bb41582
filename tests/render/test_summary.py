"""The summary answers first, fits a small terminal, and says in words what kind of run it is."""

import dataclasses
import io
import re

import data
import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import opis_cli as opis
from opis_cli.render.terminal.summary import summary

MOST_LINES = 30


def shown(run, width=80, out="runs/wordnet", **options):
    console = Console(file=io.StringIO(), width=width)
    console.print(summary(run, out, **options))
    return console.file.getvalue()


@pytest.fixture(scope="module")
def wordnet():
    return opis.evaluate(data.SAMPLES / "wordnet.parquet")


@pytest.fixture(scope="module")
def in_use():
    return opis.evaluate(*data.MADE["long_tail"], threshold="0.6")


def order(text):
    return re.findall(r"^(DEPLOY|NO THRESHOLD|IN USE|ARE THE|WHO PAYS|CHECK|NEXT)", text, re.M)


def test_the_answers_come_first_and_fit_a_screen(wordnet):
    text = shown(wordnet)
    assert order(text) == ["DEPLOY", "ARE THE", "WHO PAYS", "CHECK", "NEXT"]
    assert len(text.splitlines()) <= MOST_LINES
    assert max(map(len, text.splitlines())) <= 80
    chosen = wordnet.report.recommendation
    rows = [line.split() for line in text.splitlines()]
    assert ["wrong", "matches", "accepted", "(FAR)"] in [row[:4] for row in rows]
    assert f"<= {chosen.threshold:.7g} " in text
    assert f"{chosen.rejected_genuine:,} of {wordnet.report.pairs.genuine:,}; no bound" in text


def test_both_sides_that_pay_are_named_and_small_classes_do_not_lead(wordnet):
    text = shown(wordnet)
    table = wordnet.classes().set_index("class")
    judged = table[table["genuine_pairs"] >= 20]
    rejected = judged["frr"].sort_values(ascending=False)
    accepted = judged["far"].sort_values(ascending=False)
    first, second = text.partition("most rejected")[2].split("most accepted")
    assert rejected.index[0] in first.splitlines()[1]
    assert accepted.index[0] in second.splitlines()[1]
    # The class of least utility has two rows: it is named below, as one that cannot be judged.
    least = table["utility"].idxmin()
    assert table.loc[least, "size"] == 2
    assert least not in first and least in second.partition("Too few pairs to judge")[2]


def test_details_show_every_figure_and_the_summary_none_of_them(wordnet):
    rest = ("recall@1", "EER", "INTERVALS", "INEQUITY", "OPIS less noise", "OPIS by log FAR")
    assert not [name for name in rest if name in shown(wordnet)]
    text = shown(wordnet, details=True)
    assert [name for name in rest if name in text] == list(rest)
    assert "add --details" not in text


def test_details_show_the_likelihood_ratio_at_the_threshold(wordnet):
    found, at = wordnet.report.llr, wordnet.report.recommendation.threshold
    text = shown(wordnet, details=True).partition("LIKELIHOOD RATIOS")[2]
    ratio = np.exp(found.map.at(at))
    assert f"at the threshold {ratio:.3g} even odds where {100 / (1 + ratio):.3g} % are" in (
        " ".join(text.split())
    )
    assert f"{found.cllr:.3g} bits  in threshold.json" in text
    assert f"{found.min_cllr:.3g} bits" in text and "fits badly" not in text
    cost = 1.3 * found.min_cllr + 0.02
    poor = dataclasses.replace(found, cllr_logistic=cost, cllr_pav=cost)
    report = dataclasses.replace(wordnet.report, llr=poor)
    assert "fits badly" in shown(dataclasses.replace(wordnet, report=report), details=True)


def test_a_narrow_terminal_cuts_no_figure(wordnet, in_use):
    for run in (wordnet, in_use):
        lines = shown(run, 60).splitlines()
        assert max(map(len, lines)) <= 60
        figures = re.findall(r"\d[\d,]*/[\d,]+", shown(run))
        assert figures and set(figures) == set(re.findall(r"\d[\d,]*/[\d,]+", "\n".join(lines)))


def test_commands_are_never_broken_and_hold_no_command_of_a_name(in_use):
    text = shown(in_use, 60, out="runs/a; rm -rf $HOME")
    assert "opis explain 'runs/a; rm -rf $HOME'\n" in text
    assert "  errors, pair by pair" in shown(in_use, 80) and "pair by pair" not in text


def test_the_threshold_in_use_is_judged_by_its_own_counts(in_use):
    text, deployed = shown(in_use), in_use.report.deployed
    assert order(text)[:3] == ["DEPLOY", "IN USE", "ARE THE"]
    pairs = in_use.report.pairs.impostor
    assert f"{round(deployed.far * pairs):,} of {pairs:,}; over the bound 1 %" in text
    table = in_use.classes().query("genuine_pairs >= 20 and deployed_far == deployed_far")
    most = table.sort_values("deployed_far", ascending=False)["class"].iloc[0]
    assert str(most) in text.partition("most accepted")[2].splitlines()[1].split()
    broken = 1 - deployed.classes_meeting_bounds
    assert f"WHO PAYS  {100 * broken:.3g} % of the" in text and "at the threshold in use" in text


def test_without_a_threshold_the_price_of_each_bound_stands_first():
    run = opis.evaluate(*data.MADE["blobs"], max_far=0.001, max_frr=0.01)
    chosen, text = run.report.recommendation, shown(run)
    assert order(text)[0] == "NO THRESHOLD"
    price = re.search(r"FAR <= 0.1 % alone +(\S+)  FAR (\S+) %, FRR", text)
    assert float(price[1]) == chosen.at_max_far.threshold
    assert float(price[2]) == pytest.approx(100 * chosen.at_max_far.far, rel=0.01)
    # What is suggested works.
    given = re.search(r"recommend runs/wordnet --max-far (\S+) --max-frr (\S+)", text)
    asked = {"max_far": float(given[1]), "max_frr": float(given[2])}
    assert asked["max_frr"] == 0.01 and run.recommend(**asked).status == "feasible"
    assert re.search(rf"explain runs/wordnet --threshold {price[1]}\s", text)
    assert "recommend runs/wordnet --max-far 0.001 --max-frr 0.01 --review\n" in text


def test_groups_and_scored_pairs_have_their_own_words(tmp_path):
    vectors, labels = data.MADE["blobs"]
    columns = {"who": np.array(list("abcd"))[labels % 4]}
    text = shown(opis.evaluate(vectors, labels, columns=columns, group_column="who"))
    assert "ARE THE GROUPS ALIKE?" in text and "lass" not in text
    rng = np.random.default_rng(0)
    genuine = rng.random(600) < 0.3
    table = pd.DataFrame({"score": rng.standard_normal(600) + 3 * genuine, "genuine": genuine})
    table.to_csv(tmp_path / "p.csv", index=False)
    text = shown(opis.evaluate(tmp_path / "p.csv", pairs=True))
    assert re.search(r"DEPLOY  score >= \S+\n", text)
    assert "no classes; --group-column names groups" in text and "WHO PAYS" not in text


@pytest.fixture(scope="module")
def grouped():
    """Three groups: the rows of the first lie close together, and the last has few pairs."""
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(80), 6)
    site = np.array(["[red]north", "south", "tiny\n"], object)[np.repeat([0, 1, 2], [40, 38, 2])]
    centres = rng.normal(size=(80, 24)) + 0.5 * (site == "[red]north")[:, None]
    vectors = centres[labels] + 0.5 * rng.normal(size=(480, 24))
    return opis.evaluate(vectors, labels, columns={"site": site[labels]}, group_column="site")


def test_details_show_thresholds_by_group_and_the_matrix(grouped):
    assert "BY GROUP" not in shown(grouped)
    text, found = shown(grouped, details=True), grouped.report.groups
    assert max(map(len, text.splitlines())) <= 80
    rows = {
        line.split("  ")[1]: line for line in text.partition("THRESHOLDS BY")[2].splitlines()[2:5]
    }
    north, _, tiny = found.groups
    assert next(iter(rows)) == "[red]north"
    assert f"{north.threshold:g}" in rows["[red]north"] and "global" in rows["tiny�"]
    assert tiny.fallback == "few_impostors" and "1 with fewer than 300 impostor pairs" in text
    # The matrix has every two groups once, and marks what few pairs cannot show.
    matrix = text.partition("FAR BY PAIR OF GROUPS")[2].splitlines()
    assert [line.count("%") for line in matrix[2:5]] == [1, 2, 3]
    assert matrix[4].count("~") == 1 and "~ marks them" in text
    across = text.partition("FAR across groups")[2].splitlines()[0].split()
    assert across[0] == f"{100 * found.at_global.across_far:.3g}"
    assert across[2] == f"{100 * found.at_own.across_far:.3g}"


def test_details_say_why_there_are_no_thresholds_by_group(grouped):
    old = dataclasses.replace(grouped.counts, group_pairs=None)
    text = shown(dataclasses.replace(grouped, counts=old), details=True)
    assert "THRESHOLDS BY GROUP  none: an older opis wrote this run" in text
