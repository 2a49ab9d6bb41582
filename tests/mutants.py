"""Faults put into copies of the package, which tests must find: ``python tests/mutants.py``.

A test that passes whatever the code does proves nothing. Each fault here once went, or might go,
unnoticed: a bound that is off by one, a term dropped, ends swapped, a floor taken away. The package
is copied, a line of the copy is changed, and the tests that are named must fail on it, as they must
pass on a copy without a fault. The checkout itself is never changed.

Ten faults are tried, drawn by the day, so that all get their turn; ``--all`` tries all, ``--seed``
draws others, and names of faults try these. The exit code is 1 if any goes unnoticed.
``test_mutants.py`` sees to it that the list fits the code.
"""

import argparse
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "opis_cli"
DRAWN, AT_ONCE = 10, 2
_PATIENCE = 300
"""Seconds for the tests of a fault: one that makes them hang is found too."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A fault.

    Attributes
    ----------
    name : str
    file : str
        Below ``opis_cli``.
    old, new : str
        Text that occurs once in the file, and what is put in its place.
    tests : tuple of str
        Below ``tests``: tests that must fail, as pytest names them.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTANTS = (
    # Counting.
    Mutant(
        "zones that overflow are not counted again",
        "counting/engines/numba_scan.py",
        "    if total != doubles:\n",
        "    if False:\n",
        (
            "counting/test_engines.py::"
            "test_a_block_off_the_diagonal_that_holds_more_pairs_than_16_bits",
        ),
    ),
    Mutant(
        "a carry of a byte is one short",
        "counting/engines/numba_credits.py",
        "total[key, class_cell[cell]] += 256",
        "total[key, class_cell[cell]] += 255",
        ("counting/test_engines.py::test_cells_that_hold_more_pairs_than_8_bits",),
    ),
    Mutant(
        "a cut inside a code is not looked at",
        "counting/engines/numba_tables.py",
        "return cell + np.uint32(score < cuts[cell])",
        "return cell + np.uint32(0)",
        ("counting/test_engines.py::test_engines_count_the_same[dense-numba]",),
    ),
    Mutant(
        "bisection inside a class stops one early",
        "counting/engines/numba_credits.py",
        "low = middle + 1",
        "low = middle + 2",
        ("counting/test_engines.py::test_pairs_inside_classes_are_those_found_one_by_one",),
    ),
    Mutant(
        "the reference counts a pair of a row with itself",
        "counting/engines/numpy.py",
        "pairs = wanted & (i < j)",
        "pairs = wanted & (i <= j)",
        ("counting/test_engines.py::test_counts_equal_brute_force[dense-blobs-cosine-numpy]",),
    ),
    Mutant(
        "genuine pairs across groups count as impostors too",
        "counting/groups.py",
        "outer_rows = replace(sorted_rows, vetoes=(apart, *sorted_rows.vetoes))",
        "outer_rows = sorted_rows",
        ("counting/test_groups.py::test_counts_equal_brute_force[site-all pairs-numpy]",),
    ),
    Mutant(
        "the second group of a pair of groups is the first",
        "counting/groups.py",
        "credits[:, part.group] = 0",
        "credits[:, part.group] += 0",
        ("counting/test_groups.py::test_counts_equal_brute_force[region-all pairs-numpy]",),
    ),
    Mutant(
        "nearest rows of groups are in the order of the pass",
        "counting/tally.py",
        "self.nearest_genuine[order] = other.nearest_genuine",
        "self.nearest_genuine[:] = other.nearest_genuine",
        ("counting/test_groups.py::test_groups_change_no_nearest_row",),
    ),
    Mutant(
        "pairs across groups are judged at the looser threshold",
        "scoring/by_group.py",
        "np.minimum(t[pairs.one], t[pairs.two])",
        "np.maximum(t[pairs.one], t[pairs.two])",
        (
            "scoring/test_by_group.py::test_pairs_across_groups_are_judged_at_the_stricter_threshold",
        ),
    ),
    Mutant(
        "rows that float32 cannot tell apart are not settled in float64",
        "counting/nearest.py",
        "slack, lonely = 4 * plan.rows.rounding, plan.genuine == 0",
        "slack, lonely = 0.0, plan.genuine == 0",
        ("counting/test_engines.py::test_the_nearest_row_is_told_where_float32_cannot[numpy]",),
    ),
    Mutant(
        "the last row wins a tie of the nearest",
        "counting/nearest.py",
        "first = near[ties][np.argmin(source[ties])]",
        "first = near[ties][np.argmax(source[ties])]",
        (
            "counting/test_plan.py::test_the_lowest_row_number_wins_a_tie_among_pairs_that_there_are",
        ),
    ),
    Mutant(
        "a query with a genuine row counts as a stranger",
        "counting/nearest.py",
        "strangers, paired = plan.genuine == 0, ",
        "strangers, paired = plan.genuine >= 0, ",
        ("counting/test_plan.py::test_open_set_queries_by_hand",),
    ),
    Mutant(
        "a wrong answer counts as a right one",
        "counting/nearest.py",
        "nearest[hit]",
        "nearest[paired]",
        (
            "scoring/test_search.py::"
            "test_a_bound_is_met_and_the_next_distance_would_break_it[min_identification-0.7]",
        ),
    ),
    Mutant(
        "a checkpoint of other work is gone on from",
        "counting/checkpoint.py",
        'if str(arrays["work"]) != self.work:',
        "if False:",
        (
            "counting/test_count.py::"
            "test_a_checkpoint_of_other_settings_that_change_counts_is_refused",
        ),
    ),
    Mutant(
        "parts lose the pairs inside folds",
        "counting/tally.py",
        '_ADDED = (*COUNTS, "inside", "by_groups")',
        '_ADDED = (*COUNTS, "by_groups")',
        ("counting/test_parts.py::test_parts_merged_in_any_order_are_one_count[folds]",),
    ),
    Mutant(
        "parts lose the pairs of groups",
        "counting/tally.py",
        '_ADDED = (*COUNTS, "inside", "by_groups")',
        '_ADDED = (*COUNTS, "inside")',
        ("counting/test_parts.py::test_parts_merged_in_any_order_are_one_count[groups]",),
    ),
    Mutant(
        "a part of another plan is added",
        "counting/merge.py",
        "if other.plan != first.plan:",
        "if False:",
        ("counting/test_parts.py::test_parts_of_two_plans_or_divisions_are_not_added",),
    ),
    Mutant(
        "a part with the pairs of another is added",
        "counting/merge.py",
        "tally.pooled_impostor.sum()) == pairs",
        "tally.pooled_impostor.sum()) > 0",
        ("counting/test_parts.py::test_counts_of_another_part_under_its_number_are_noticed",),
    ),
    Mutant(
        "a plan is taken for another source",
        "counting/merge.py",
        "if work_of(embeddings, settings, deployed, plan.engine, plan.side) != plan.work:",
        "if False:",
        ("counting/test_parts.py::test_another_source_is_refused",),
    ),
    Mutant(
        "a merge takes thresholds that do not serve",
        "counting/merge.py",
        "if plan.attempt < ATTEMPTS and not work.serves(counts):",
        "if False:",
        ("counting/test_parts.py::test_a_grid_that_does_not_serve_gives_the_next_plan",),
    ),
    Mutant(
        "a part has a few large tiles",
        "counting/parts.py",
        "_TILES = 64",
        "_TILES = 1",
        ("counting/test_parts.py::test_parts_are_equal",),
    ),
    Mutant(
        "the threshold at a FAR is the next one",
        "counting/calibration.py",
        'int(np.searchsorted(far, bound, side="right")) - 1',
        'int(np.searchsorted(far, bound, side="right"))',
        (
            "counting/test_calibration.py::"
            "test_a_bound_on_far_means_the_largest_threshold_that_meets_it",
        ),
    ),
    Mutant(
        "the threshold at a FRR is the next one where it ties",
        "counting/calibration.py",
        "index = int(np.argmax(frr <= bound))",
        "index = int(np.argmax(frr < bound))",
        (
            "counting/test_calibration.py::"
            "test_a_bound_on_frr_means_the_smallest_threshold_that_meets_it",
        ),
    ),
    Mutant(
        "three pairs for an error are more than three",
        "counting/calibration.py",
        "return impostors * far >= MIN_PAIRS_PER_ERROR",
        "return impostors * far > MIN_PAIRS_PER_ERROR",
        ("counting/test_calibration.py::test_a_far_is_resolved_by_three_pairs_and_not_by_fewer",),
    ),
    Mutant(
        "the gallery of a half has its own class",
        "counting/halves.py",
        "vetoing = replace(some, vetoes=(rows.keys[index],))",
        "vetoing = replace(some, vetoes=())",
        ("statistics/test_noise.py::test_halves_equal_brute_force[few-numpy]",),
    ),
    Mutant(
        "the larger half is taken twice",
        "counting/halves.py",
        "seconds = [one[middle:] for",
        "seconds = [one[:middle] for",
        ("statistics/test_noise.py::test_halves_and_galleries_share_no_row_and_are_random",),
    ),
    Mutant(
        "classes of a group lie in both halves",
        "counting/split.py",
        "second = (turn[rows.labels] + (place if by_class else 0)) % 2 == 1",
        "second = (turn[rows.labels] + place) % 2 == 1",
        (
            "counting/test_split.py::"
            "test_no_class_of_a_group_is_in_both_halves_and_each_group_is_split_evenly",
        ),
    ),
    Mutant(
        "middles of gaps lie at their edge",
        "counting/gaps.py",
        "quarter = (high - low) / 4",
        "quarter = (high - low) / 400",
        ("test_decimals.py::test_a_threshold_lies_in_the_middle_half_of_a_gap",),
    ),
    # Evidence.
    Mutant(
        "pairs of a tile on the diagonal are compared twice",
        "evidence/flips.py",
        "paired &= one < two",
        "paired &= one != two",
        ("judging/test_migration.py::test_the_flips_are_those_of_brute_force",),
    ),
    Mutant(
        "no changed decision is due to rounding",
        "evidence/flips.py",
        "np.float32(2 * side.plan.rows.rounding)",
        "np.float32(0 * side.plan.rows.rounding)",
        ("judging/test_migration.py::test_pairs_at_the_threshold_are_borderline",),
    ),
    Mutant(
        "a full list of changed decisions takes no pair like its last",
        "evidence/flips.py",
        "kept = values >= self.least",
        "kept = values > self.least",
        ("judging/test_migration.py::test_a_list_that_is_cut_often_is_the_same",),
    ),
    Mutant(
        "a threshold between two counted ones keeps the higher FAR",
        "judging/migration.py",
        'place = int(np.searchsorted(thresholds, at, side="right")) - 1',
        "place = int(np.searchsorted(thresholds, at))",
        (
            "judging/test_migration.py::"
            "test_an_old_threshold_between_two_counted_ones_keeps_the_lower_rate",
        ),
    ),
    Mutant(
        "draws of two models are of other classes",
        "judging/migration.py",
        "bootstrap.pooled_far(weights[:, order], old.counts, columns)",
        "bootstrap.pooled_far(weights, old.counts, columns)",
        ("judging/test_migration.py::test_classes_of_another_order_are_drawn_alike",),
    ),
    Mutant(
        "the share of changed decisions is one of the pairs that the baseline alone accepts",
        "judging/checks.py",
        "flips.pairs[:, [OLD_ONLY, BOTH]]",
        "flips.pairs[:, [OLD_ONLY]]",
        ("cli/test_migrate.py::test_the_gate_limits_the_decisions_that_change",),
    ),
    Mutant(
        "a row helps to spread its own class",
        "evidence/suspects.py",
        "drawn(without,",
        "drawn(twice[kept.classes] / 2,",
        ("evidence/test_suspects.py::test_the_score_is_the_formula",),
    ),
    Mutant(
        "a class counts once for each of its rows",
        "evidence/suspects.py",
        "there[:, column] & ~same[:, :column].any(axis=1)",
        "there[:, column]",
        ("evidence/test_suspects.py::test_the_score_is_the_formula",),
    ),
    Mutant(
        "rows that were not kept are at no distance",
        "evidence/suspects.py",
        "+ missing * farthest",
        "",
        ("evidence/test_suspects.py::test_rows_that_were_not_kept_count_as_the_farthest_kept",),
    ),
    Mutant(
        "the farthest row makes its own fence",
        "evidence/suspects.py",
        ', method="lower"',
        "",
        ("evidence/test_suspects.py::test_an_outlier_by_hand",),
    ),
    # Scoring.
    Mutant(
        "own thresholds are judged on the half on which they are chosen",
        "scoring/price.py",
        "own.append(_at_far(fars[chosen], fars[judged]",
        "own.append(_at_far(fars[judged], fars[judged]",
        ("scoring/test_price.py::test_what_is_chosen_on_one_half_is_judged_on_the_other",),
    ),
    Mutant(
        "a product's last bit makes one more class the worst",
        "scoring/opis.py",
        "math.ceil(round(eps * len(classes), 9))",
        "math.ceil(eps * len(classes))",
        ("scoring/test_opis.py::test_the_worst_classes_are_a_share_rounded_up_as_it_is_written",),
    ),
    Mutant(
        "the gap to the rest is that to all",
        "scoring/opis.py",
        "gap = (curves.mean_utility(counts, beta, worst, columns) - curve[columns]) * share",
        "gap = curves.mean_utility(counts, beta, worst, columns) - curve[columns]",
        ("scoring/test_opis.py::test_opis_by_hand",),
    ),
    Mutant(
        "the last step of the trapezoids weighs double",
        "scoring/opis.py",
        "weights[1:] += steps / 2",
        "weights[1:] += steps",
        ("scoring/test_opis.py::test_ties_of_the_far_have_no_weight_on_its_scale",),
    ),
    Mutant(
        "one class differs from itself",
        "scoring/opis.py",
        "if len(classes) > 1 else None",
        "if len(classes) > 0 else None",
        ("scoring/test_opis.py::test_one_evaluable_class_has_no_opis",),
    ),
    Mutant(
        "a FAR of 0 has a logarithm",
        "scoring/opis.py",
        "0 < far[0] < far[-1]",
        "0 <= far[0] < far[-1]",
        ("scoring/test_opis.py::test_a_scale_that_does_not_exist_is_null",),
    ),
    Mutant(
        "where only pooled counts are the other end is taken",
        "scoring/recommend.py",
        "return high if high + 1 < len(counts.grid.thresholds) else low",
        "return low if high + 1 < len(counts.grid.thresholds) else high",
        (
            "scoring/test_opis.py::"
            "test_where_only_pooled_counts_are_the_end_that_a_bound_is_about_is_taken",
        ),
    ),
    Mutant(
        "false accepts of a search are counted twice",
        "scoring/search.py",
        "(1 if counts.open_set is not None else 2)",
        "2",
        ("scoring/test_opis.py::test_false_accepts_per_query_are_those_that_a_row_meets[True]",),
    ),
    Mutant(
        "false accepts without a gallery are counted once",
        "scoring/search.py",
        "(1 if counts.open_set is not None else 2)",
        "1",
        ("scoring/test_opis.py::test_false_accepts_per_query_are_those_that_a_row_meets[False]",),
    ),
    Mutant(
        "the prior weighs the false accepts",
        "scoring/search.py",
        "prior * (1 - frr), (1 - prior) * far",
        "(1 - prior) * (1 - frr), prior * far",
        (
            "scoring/test_search.py::"
            "test_a_bound_is_met_and_the_next_distance_would_break_it[min_precision-0.4]",
        ),
    ),
    Mutant(
        "reviewed impostors are as rare as genuine pairs",
        "scoring/costs.py",
        "(1 - costs.prior) * review.impostor_share",
        "costs.prior * review.impostor_share",
        ("scoring/test_review.py::test_costs_are_those_of_all_pairs",),
    ),
    Mutant(
        "only rows with a genuine pair are searches to review",
        "scoring/review.py",
        "share(between(counts.answered), counts.rows)",
        "share(between(counts.answered), int(counts.searchers.sum()))",
        ("scoring/test_review.py::test_what_lies_between_goes_to_review",),
    ),
    Mutant(
        "the cosine of a threshold forgets its half",
        "scoring/recommend.py",
        "float(1 - squared / 2)",
        "float(1 - squared)",
        ("scoring/test_opis.py::test_equivalents_name_the_same_threshold",),
    ),
    Mutant(
        "beta weighs specificity and sensitivity the wrong way round",
        "scoring/curves.py",
        "weighted = beta**2 * specificity + sensitivity",
        "weighted = specificity + beta**2 * sensitivity",
        ("scoring/test_opis.py::test_utility_by_hand",),
    ),
    Mutant(
        "a deployed threshold takes its FAR from below",
        "scoring/operating.py",
        "far=float(counts.pooled_far[above])",
        "far=float(counts.pooled_far[below])",
        (
            "scoring/test_operating.py::"
            "test_between_thresholds_rates_bound_the_true_ones_and_name_their_places",
        ),
    ),
    Mutant(
        "the Gini coefficient is not corrected for the number",
        "scoring/inequity.py",
        "count / (count - 1) * gaps",
        "gaps",
        ("scoring/test_inequity.py::test_by_hand",),
    ),
    Mutant(
        "a term of the loss is the lower of two step functions, not their middle",
        "scoring/margins.py",
        "loss=(one + two) / 2 / pairs",
        "loss=one / pairs",
        ("scoring/test_margins.py::test_terms_and_shares_equal_brute_force[blobs]",),
    ),
    Mutant(
        "strangers are shared out among all queries",
        "scoring/pooled.py",
        "counts.open_set / strangers(counts)",
        "counts.open_set / counts.rows",
        ("test_joins.py::test_fpir_of_a_deployed_threshold_by_brute_force",),
    ),
    Mutant(
        "the EER is the FAR where the two are closest",
        "scoring/pooled.py",
        "(far[index] + frr[index]) / 2",
        "far[index]",
        ("scoring/test_opis.py::test_the_eer_lies_between_the_two_rates_that_are_closest",),
    ),
    Mutant(
        "the worst classes at a threshold are the best",
        "scoring/deployed.py",
        "np.lexsort((consistency.mean_utilities, ranking))[:WORST_CLASSES]",
        "np.lexsort((consistency.mean_utilities, ranking))[-WORST_CLASSES:]",
        ("test_run.py::test_classes_parquet_agrees_with_the_report",),
    ),
    Mutant(
        "a pair within a rounding is surely accepted",
        "scoring/borderline.py",
        "sure = np.where(alone, counts.pooled_genuine - counts.borderline_genuine, sure)",
        "sure = np.where(alone, counts.pooled_genuine, sure)",
        (
            "report/test_thresholds.py::"
            "test_pairs_on_a_deployed_threshold_are_counted_on_both_sides",
        ),
    ),
    Mutant(
        "estimated classes do not add up to the pooled FAR",
        "scoring/axis.py",
        "_STEPS = 4",
        "_STEPS = 0",
        ("scoring/test_axis.py::test_counts_by_class_lie_close_all_the_way",),
    ),
    # Statistics.
    Mutant(
        "errors more even than chance gain pairs",
        "statistics/jackknife.py",
        "(rate * (1 - rate))[places], 1.0)",
        "(rate * (1 - rate))[places], 0.0)",
        (
            "statistics/test_intervals.py::"
            "test_pairs_that_err_more_evenly_than_by_chance_are_worth_no_more_than_themselves",
        ),
    ),
    Mutant(
        "the design effect is that of the next column, not the nearest",
        "statistics/jackknife.py",
        "effect[np.where(nearer, before, after)]",
        "effect[after]",
        (
            "statistics/test_intervals.py::"
            "test_where_errors_are_few_the_design_effect_is_that_of_the_nearest_column",
        ),
    ),
    Mutant(
        "the rule of three forgets the design effect",
        "statistics/jackknife.py",
        "np.log1p(-level) * self.effect / self.pairs",
        "np.log1p(-level) / self.pairs",
        (
            "statistics/test_intervals.py::"
            "test_no_error_is_bounded_by_the_rule_of_three_over_the_design_effect",
        ),
    ),
    Mutant(
        "deviations of impostors count as if they did not come in pairs",
        "statistics/jackknife.py",
        "np.maximum(freedom / shared, LEAST_FREEDOM)",
        "np.maximum(freedom, LEAST_FREEDOM)",
        (
            "statistics/test_intervals.py::"
            "test_the_jackknife_equals_leaving_out_each_class_and_counting_again[blobs]",
        ),
    ),
    Mutant(
        "as many classes as there are would show it",
        "statistics/confidence.py",
        "max(math.ceil(least * len(counts.sizes)), len(counts.sizes) + 1)",
        "math.ceil(least * len(counts.sizes))",
        (
            "statistics/test_confidence.py::"
            "test_more_classes_than_there_are_is_the_least_that_is_needed",
        ),
    ),
    Mutant(
        "the noise of halves with nothing in common is forgotten",
        "statistics/noise.py",
        "value=unbiased, error=error)",
        "value=unbiased)",
        (
            "statistics/test_noise.py::test_errors_so_rare_that_no_class_has_them_in_both_halves_"
            "still_have_a_standard_error",
        ),
    ),
    Mutant(
        "a remedy is fitted on the classes that it is tried on",
        "remedies/folds.py",
        "others = training.some(of_row != fold)",
        "others = training.some(of_row >= 0)",
        ("remedies/test_oracle.py::test_no_remedy_is_fitted_on_a_class_that_it_is_tried_on",),
    ),
    Mutant(
        "cohort rows of a row's own class count for it",
        "remedies/normalisations.py",
        "scores[own[part, None] == cohort.classes] = -np.inf",
        "scores[own[part, None] == -2] = -np.inf",
        ("remedies/test_oracle.py::test_cohort_rows_of_the_own_class_never_count",),
    ),
    Mutant(
        "pairs across groups are judged at the laxer threshold",
        "remedies/normalisations.py",
        "np.maximum(offsets[codes, None], offsets)",
        "np.minimum(offsets[codes, None], offsets)",
        ("remedies/test_oracle.py::test_scores_are_those_of_the_definition",),
    ),
    Mutant(
        "many remedies need no more evidence than one",
        "remedies/trial.py",
        "levels = holm([1.0 if p is None else p for p in p_values.values()], ALPHA)",
        "levels = [ALPHA] * len(p_values)",
        ("remedies/test_oracle.py::test_each_remedy_more_needs_more_evidence",),
    ),
    Mutant(
        "the rows of a remedy are read again without it",
        "run.py",
        "return remedied_again(rows, self.report, self.settings)",
        "return rows",
        ("remedies/test_artefact.py::test_a_run_with_a_remedy_is_explained_by_its_own_scores",),
    ),
    Mutant(
        "an impostor pair of a draw counts for each of its classes",
        "statistics/bootstrap.py",
        "weights @ some.astype(float) - twice",
        "weights @ some.astype(float)",
        ("statistics/test_bootstrap.py::test_pooled_far_moves_by_both_classes_of_a_pair",),
    ),
    Mutant(
        "a product's last bit makes one more class of a draw the worst",
        "statistics/bootstrap.py",
        "np.ceil(np.round(eps * total, 9))",
        "np.ceil(eps * total)",
        ("scoring/test_opis.py::test_the_worst_classes_are_a_share_rounded_up_as_it_is_written",),
    ),
    Mutant(
        "the limits of a family are those of one check",
        "statistics/family.py",
        "left -= 1",
        "left -= 0",
        ("judging/test_gate.py::test_holm_by_hand",),
    ),
    Mutant(
        "pairs inside a fold are taken off twice",
        "statistics/held_out.py",
        "int(counts.impostor_pairs[own].sum()) + pairs_inside",
        "int(counts.impostor_pairs[own].sum())",
        ("statistics/test_held_out.py::test_held_out_rates_equal_a_brute_force_split",),
    ),
    Mutant(
        "an interval of OPIS has the bias of its draws twice",
        "statistics/intervals.py",
        "unbiased = 2 * np.log(value) - logs.mean()",
        "unbiased = logs.mean()",
        ("statistics/test_intervals.py::test_the_interval_of_opis_is_freed_of_the_bias_of_draws",),
    ),
    Mutant(
        "a class's pairs weigh once in the mean FAR of the others",
        "statistics/intervals.py",
        "far = 2 * rates.far - rates.far.mean()",
        "far = rates.far",
        (
            "statistics/test_intervals.py::"
            "test_the_mean_far_of_classes_varies_by_both_classes_of_a_pair",
        ),
    ),
    # Judging.
    Mutant(
        "a draw's FAR that falls again allows what lies beyond",
        "judging/resampled.py",
        "allowed &= np.cumsum(broken, axis=1) == 0",
        "allowed &= ~broken",
        (
            "statistics/test_bootstrap.py::"
            "test_a_far_of_a_draw_that_falls_again_allows_nothing_beyond_its_first_breach",
        ),
    ),
    Mutant(
        "a limit is broken at its very value",
        "judging/checks.py",
        "        passed=margin is not None and margin >= 0,\n        value=value,\n"
        "        limit=limit.amount,",
        "        passed=margin is not None and margin > 0,\n        value=value,\n"
        "        limit=limit.amount,",
        ("judging/test_gate.py::test_a_limit_holds_to_its_very_value_and_not_beyond",),
    ),
    Mutant(
        "of equal classes the smallest is named",
        "judging/checks.py",
        "np.lexsort((-counts.sizes[classes], -values))[0]",
        "np.lexsort((-counts.sizes[classes], values))[0]",
        ("judging/test_gate.py::test_the_worst_class_is_named",),
    ),
    Mutant(
        "a shift of a threshold down is none",
        "judging/checks.py",
        "return max(low, -high, 0.0), max(abs(low), abs(high))",
        "return max(low, 0.0), max(abs(low), abs(high))",
        ("judging/test_gate.py::test_a_shift_down_is_as_large_as_one_up",),
    ),
    Mutant(
        "the chance of a false alarm does not grow with the checks",
        "judging/gate.py",
        "demands.confidence ** (1 if demands.family else tested)",
        "demands.confidence ** (tested if demands.family else 1)",
        ("judging/test_gate.py::test_a_check_that_fails_alone_may_hold_in_a_family",),
    ),
    # Report.
    Mutant(
        "a table has lows for highs",
        "report/curves_table.py",
        'return {f"{name}_low": low, f"{name}_high": high}',
        'return {f"{name}_low": high, f"{name}_high": low}',
        ("report/test_curves_table.py::test_a_row_a_threshold_with_intervals",),
    ),
    Mutant(
        "a table's mean FAR is a sum",
        "report/curves_table.py",
        'means["far"] += curves.class_far(counts, part, columns).sum(axis=0) / len(classes)',
        'means["far"] += curves.class_far(counts, part, columns).sum(axis=0)',
        ("report/test_curves_table.py::test_a_row_a_threshold_with_intervals",),
    ),
    # What people see.
    Mutant(
        "the ROC curve is that of the errors",
        "render/error_curves.py",
        "1 - counts.pooled_frr",
        "counts.pooled_frr",
        ("render/test_plots.py::test_curves_have_intervals",),
    ),
    Mutant(
        "a name in a picture covers another one",
        "render/labels.py",
        "_OVER_NAME * over",
        "0 * over",
        ("render/test_looks.py::test_names_keep_clear_of_one_another_and_inside_their_panel",),
    ),
    Mutant(
        "the best classes are named as the worst",
        "render/class_curves.py",
        "np.argsort(-badness,",
        "np.argsort(badness,",
        ("render/test_looks.py::test_a_dozen_classes_are_all_named_and_of_more_the_worst",),
    ),
    Mutant(
        "a PDF has fonts of a kind that journals refuse",
        "render/sheet.py",
        '"pdf.fonttype": 42',
        '"pdf.fonttype": 3',
        ("render/test_looks.py::test_pdf_has_whole_fonts_and_no_pixels_and_svg_has_its_text",),
    ),
    Mutant(
        "a name is markup in a notebook",
        "render/notebook.py",
        "html.escape(plain(text, 1_000))",
        "plain(text, 1_000)",
        ("test_api.py::test_a_notebook_shows_summary_and_picture_and_no_name_is_markup",),
    ),
    Mutant(
        "one annotation more than a step may have",
        "render/verdicts/github.py",
        "failed[: MOST_ANNOTATIONS - 1]:",
        "failed[:MOST_ANNOTATIONS]:",
        ("render/test_verdicts.py::test_annotations_are_ten_at_most_and_one_line_each",),
    ),
    Mutant(
        "a percent sign of a name is not escaped",
        "render/verdicts/github.py",
        '.replace("%", "%25")',
        "",
        ("render/test_verdicts.py::test_annotations_are_ten_at_most_and_one_line_each",),
    ),
    # The ground.
    Mutant(
        "the shortest decimal lies beyond its interval",
        "decimals.py",
        "if low <= found <= high:",
        "if low <= found:",
        ("test_decimals.py::test_the_shortest_decimal_of_an_interval",),
    ),
    Mutant(
        "a folder that others can write is used",
        "caches.py",
        "and not facts.st_mode & 0o022",
        "",
        ("test_caches.py::test_a_folder_that_others_can_write_is_not_used[open]",),
    ),
    Mutant(
        "a folder on a full disk is used",
        "caches.py",
        "_ROOM if new else 0",
        "0",
        ("test_caches.py::test_a_full_disk_is_none_that_can_be_written",),
    ),
    Mutant(
        "compiled code is kept by the outermost file alone",
        "counting/engines/numba_cache.py",
        'caches.key_of(_HERE.glob("numba*.py"), ',
        "caches.key_of([], ",
        ("test_caches.py::test_an_edited_kernel_is_not_run_from_what_the_old_one_compiled",),
    ),
    Mutant(
        "a large class weighs more in likelihood ratios",
        "scoring/llr.py",
        "weights[fold, classes] = 1 / accepted[classes, -1].astype(np.float64)",
        "weights[fold, classes] = 1 / accepted[classes, -1].mean()",
        ("scoring/test_llr.py::test_each_class_has_the_same_weight[False]",),
    ),
    Mutant(
        "the map of a fold has seen its classes",
        "statistics/llr_held_out.py",
        "shares[:k] + shares[k + 1 :]",
        "shares",
        ("statistics/test_llr_held_out.py::test_each_class_is_judged_once_by_a_map_of_the_others",),
    ),
    Mutant(
        "no pair is added at the ends of the curve",
        "scoring/llr.py",
        "genuine[-1] += 1 / cells.pairs[0]",
        "genuine[-1] += 1e-9 / cells.pairs[0]",
        ("scoring/test_llr.py::test_costs_by_hand",),
    ),
)


def put(mutant: Mutant | None, folder: Path) -> None:
    """Copy the package into a folder, with a fault or without."""
    copy = folder / PACKAGE.name
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    if mutant is not None:
        file = copy / mutant.file
        file.write_text(file.read_text().replace(mutant.old, mutant.new))


def run(
    folder: Path, tests: Sequence[str], *options: str, compiled: str = "compiled"
) -> tuple[int | None, str]:
    """Run tests on the copy in a folder: pytest's exit code, None if it hung, and what it said.

    ``compiled`` is where compiled code is kept, beside the copy.
    """
    words = [sys.executable, "-P", "-m", "pytest", "-n", "0", "-q", "-x", "--tb=line", *options]
    variables = {
        "PYTHONPATH": str(folder),
        "NUMBA_CACHE_DIR": str(folder / compiled),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        done = subprocess.run(
            [*words, "-p", "no:cacheprovider", *(f"tests/{test}" for test in tests)],
            cwd=ROOT,
            env=os.environ | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return None, ""
    return done.returncode, done.stdout + done.stderr


def verdict(mutant: Mutant, folder: Path) -> str:
    """Try a fault: ``found``, or what is wrong."""
    put(mutant, folder)
    compiled = "compiled"
    if mutant.file.startswith("counting/engines/numba"):
        # What other copies compiled has not this fault, nor shall they have it.
        compiled = f"compiled-{MUTANTS.index(mutant)}"
    for test in mutant.tests:
        code, said = run(folder, [test], compiled=compiled)
        if code == 0:
            return f"UNNOTICED by {test}"
        # 1 is a test that failed; others are that it could not be run at all.
        if code not in (1, None):
            return f"NOT RUN, pytest ended with {code}:\n{said}"
    return "found"


def drawn(words: argparse.Namespace) -> list[Mutant]:
    """The faults to try."""
    if words.names:
        return [mutant for mutant in MUTANTS if mutant.name in words.names]
    if words.all:
        return list(MUTANTS)
    return random.Random(words.seed).sample(MUTANTS, DRAWN)


def main(words: Sequence[str] | None = None) -> int:
    """Try faults; 1 if one goes unnoticed, or a test fails without any."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="faults to try, by name")
    parser.add_argument("--all", action="store_true", help="try all")
    parser.add_argument(
        "--seed",
        type=int,
        default=int(f"{datetime.now(UTC):%Y%m%d}"),
        help="of the faults that are drawn; the day, as 20250131",
    )
    chosen = parser.parse_args(words)
    mutants, started = drawn(chosen), time.monotonic()
    unknown = set(chosen.names) - {mutant.name for mutant in mutants}
    if unknown:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(prefix="opis-mutants-") as scratch:
        folders: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for number in range(AT_ONCE):
            folder = Path(scratch, str(number))
            folder.mkdir()
            folders.put(folder)
        put(None, folder)
        tests = dict.fromkeys(test for mutant in mutants for test in mutant.tests)
        code, said = run(folder, list(tests))
        if code != 0:
            print(f"tests fail without any fault:\n{said}")
            return 1
        print(f"without a fault: passed in {time.monotonic() - started:.0f} s", flush=True)

        def tried(mutant: Mutant) -> bool:
            own, begun = folders.get(), time.monotonic()
            try:
                told = verdict(mutant, own)
            finally:
                folders.put(own)
            print(f"{mutant.name}: {told}, {time.monotonic() - begun:.0f} s", flush=True)
            return told == "found"

        with ThreadPoolExecutor(AT_ONCE) as pool:
            missed = list(pool.map(tried, mutants)).count(False)
    seconds = time.monotonic() - started
    print(f"mutants: {len(mutants)} tried, {missed} unnoticed, {seconds:.0f} s")
    if not (chosen.all or chosen.names):
        print(f"the same again: python tests/mutants.py --seed {chosen.seed}")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
