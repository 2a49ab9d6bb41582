"""Scored pairs as people have them: whole numbers, float32, bad values far down, plain lists."""

import numpy as np
import pandas as pd
import pytest

import opis_cli as opis
from opis_cli.errors import InputError

JUDGE = {
    True: {7: 23, 8: 92, 9: 159, 10: 326},
    False: {0: 1830, 1: 1225, 2: 869, 3: 596, 4: 488, 5: 431, 6: 278, 7: 172, 8: 80, 9: 25, 10: 6},
}
"""Marks that a judge gave, 0 to 10, and how many pairs of each kind have each."""
HAMMING = {
    True: {0: 17, 2: 300, 4: 600, 9: 76, 11: 7},
    False: {5: 1, 9: 11, 12: 75, 13: 70, 14: 84, 15: 121, 19: 1_200, 30: 18_438},
}
FLOAT32 = {
    True: {0.5: 240, 0.66: 400, 0.8: 360},
    False: {0.8: 20, 0.66: 167, 0.65: 35, 0.64: 300, 0.3: 19_478},
}


def table_of(numbers, column):
    rows = [(value, kind, n) for kind, own in numbers.items() for value, n in own.items()]
    values, kinds, times = zip(*rows, strict=True)
    return pd.DataFrame({column: np.repeat(values, times), "genuine": np.repeat(kinds, times)})


@pytest.mark.parametrize(
    ("numbers", "column", "kind", "threshold", "accepted", "rejected"),
    [
        (JUDGE, "score", np.int64, 8.5, 31, 115),
        (HAMMING, "distance", np.int64, 13.5, 157, 0),
        (FLOAT32, "score", np.float32, 0.655, 187, 240),
    ],
    ids=["judge", "hamming", "float32"],
)
def test_a_threshold_of_tied_scores_lies_between_them(
    numbers, column, kind, threshold, accepted, rejected, cli, tmp_path
):
    table = table_of(numbers, column).astype({column: kind})
    table.to_parquet(tmp_path / "p.parquet")
    done = cli("evaluate", "p.parquet", "--pairs", "--prefer", "low-frr", "--out", "run")
    assert done.returncode == 0, done.stderr
    rule = f"DEPLOY  {column} {'>=' if column == 'score' else '<='}"
    assert [rule, str(threshold)] == [part.strip() for part in _row(done.stdout, rule)]
    chosen = opis.load_run(tmp_path / "run").report.recommendation
    assert (chosen.accepted_impostors, chosen.rejected_genuine) == (accepted, rejected)
    # What is printed decides alike in both precisions.
    for width in (np.float32, np.float64):
        values, at = table[column].to_numpy(width), width(threshold)
        accepts = values >= at if column == "score" else values <= at
        assert (accepts & ~table["genuine"]).sum() == accepted
        assert (~accepts & table["genuine"]).sum() == rejected


def _row(text, start):
    line = next(line for line in text.splitlines() if line.strip().startswith(start)).strip()
    return start, line.removeprefix(start)


def test_saturated_scores_without_groups_need_no_range(cli, tmp_path):
    numbers = {True: {1.0: 950, 0.0: 50}, False: {1.0: 30, 0.0: 2_970}}
    table_of(numbers, "score").to_csv(tmp_path / "sat.csv", index=False)
    done = cli("evaluate", "sat.csv", "--pairs", "--max-far", "0.02", "--out", "run")
    assert done.returncode == 0, done.stderr
    assert _row(done.stdout, "DEPLOY  score >=")[1].strip() == "0.5"
    assert "1 %  30 of 3,000" in done.stdout and "5 %  50 of 1,000" in done.stdout
    for command in (
        ("gate", "run", "--max-far", "0.02", "--html", "page.html"),
        ("compare", "sat.csv", "run", "--config", "opis.toml"),
        ("plot", "run", "--kind", "rates"),
    ):
        (tmp_path / "opis.toml").write_text("pairs = true\nmax-far = 0.02\n")
        done = cli(*command)
        assert done.returncode == 0, (command, done.stderr)


BAD = {
    "text": ("x,1,a", "row {} .* has 'x' in column 'score'; wanted a number"),
    "digits apart": ("1_0,1,a", "row {} .* has '1_0' in column 'score'; wanted a number"),
    "infinite": ("inf,1,a", "row {} .* has an infinite score in column 'score'"),
    "no truth": ("0.5,,a", "row {} .* has no value in column 'genuine'"),
    "word": ("0.5,perhaps,a", "row {} .* has 'perhaps' in column 'genuine'"),
    "no group": ("0.5,1,", "row {} .* has no value in column 'group'"),
}


@pytest.mark.parametrize(("line", "says"), BAD.values(), ids=BAD)
def test_a_bad_value_in_a_later_file_and_batch_names_its_row(line, says, tmp_path, monkeypatch):
    monkeypatch.setattr("opis_cli.counting.scored_files._CSV_BLOCK", 512)
    good = [f"0.{k % 89:02d},{int(k % 89 > 60)},{'ab'[k % 2]}" for k in range(400)]
    for number, lines in ((1, good), (2, [*good[:333], line, *good])):
        (tmp_path / f"p-{number}.csv").write_text("\n".join(["score,genuine,group", *lines, ""]))
    with pytest.raises(InputError, match=rf"p-2\.csv: {says.format(333)}"):
        opis.evaluate(tmp_path / "p-*.csv", pairs=True, group_column="group")


def test_a_line_with_a_cell_too_few_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("opis_cli.counting.scored_files._CSV_BLOCK", 512)
    lines = ["score,genuine", *["0.5,1"] * 300, "0.5", *["0.1,0"] * 9]
    (tmp_path / "p.csv").write_text("\n".join([*lines, ""]))
    with pytest.raises(InputError, match="Row #302"):
        opis.evaluate(tmp_path / "p.csv", pairs=True)


def test_no_threshold_of_scores_is_shown_as_a_distance(cli, tmp_path):
    """Every score lies between 100 and 200, so a distance would show as a minus."""
    rng = np.random.default_rng(2)
    for name in "ab":
        genuine = rng.random(3_000) < 0.3
        score = (150 + 20 * genuine + 10 * rng.standard_normal(3_000)).clip(101, 199).round(2)
        group = [f"g{k % 5}" for k in range(3_000)]
        table = pd.DataFrame({"score": score, "genuine": genuine, "group": group})
        table.to_csv(tmp_path / f"{name}.csv", index=False)
        done = cli(
            *("evaluate", f"{name}.csv", "--pairs", "--group-column", "group", "--out", name),
            *("--threshold", "175"),
        )
        assert done.returncode == 0 and "-1" not in done.stdout.replace("e-1", ""), done.stdout
    gate = cli(
        *("gate", "a", "--baseline", "b", "--max-far", "0.5", "--max-class-far", "0.9"),
        *("--max-threshold-shift", "50", "--junit", "j.xml", "--markdown", "m.md"),
        *("--html", "h.html", "--gitlab-metrics", "metrics.txt"),
    )
    assert gate.returncode == 0, gate.stdout + gate.stderr
    shown = [gate.stdout, cli("recommend", "a").stdout, cli("compare", "a", "b").stdout]
    shown += [(tmp_path / name).read_text() for name in ("j.xml", "m.md", "metrics.txt")]
    assert 'name="threshold" value="175"' in shown[3] and "opis_threshold 175" in shown[5]
    for text in shown:
        assert not any(f"-1{digit}" in text.replace("e-1", "") for digit in "0456789"), text
    run = opis.load_run(tmp_path / "a")
    table = run.classes()
    assert table["best_threshold"].between(101, 199).all()
    for name, at in zip(table["group"], table["best_threshold"].tolist(), strict=True):
        utility = run.classes(threshold=at).set_index("group").loc[name, "utility"]
        others = [
            run.classes(threshold=other).set_index("group").loc[name, "utility"]
            for other in (155.005, 160.005, 165.005)
        ]
        assert utility >= max(others)
    cli("export", "a", "--curves", "c.csv")
    assert pd.read_csv(tmp_path / "c.csv")["threshold"].between(90, 210).all()
