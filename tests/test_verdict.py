"""The verdict on a training run in four words, with what to try; each milestone once."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zigpt.data.baselines import Ladder, Rung
from zigpt.training.verdict import Point, Verdict, judge, milestone

NAMES = ("uniform", "unigram", "bigram", "trigram", "5-gram")


def ladder_of(*losses: float) -> Ladder:
    return Ladder(tuple(Rung(name, loss) for name, loss in zip(NAMES, losses, strict=True)))


LADDER = ladder_of(4.2, 3.3, 2.5, 2.0, 1.7)
losses = st.floats(0.1, 6)


def run(*val_losses: float, train_losses: tuple[float, ...] | None = None) -> list[Point]:
    """Evaluations every 100 steps; unless given, the train loss falls slowly."""
    train = train_losses or tuple(4.2 - 0.01 * i for i in range(len(val_losses)))
    return [Point(100 * i, a, b) for i, (a, b) in enumerate(zip(train, val_losses, strict=True))]


def test_a_val_loss_that_rises_while_the_train_loss_falls_is_overfit_since_the_best_step():
    verdict = judge(run(4.2, 2.0, 1.5, 1.6, 1.8, train_losses=(4.2, 2.0, 1.4, 1.0, 0.5)), LADDER)
    assert verdict == Verdict(
        "overfit since step 200",
        "the train loss fell further to 0.500 while the validation loss rose from 1.500 to 1.800",
        "The model from the best step was kept; more text, a higher `dropout` or a smaller model "
        "would help",
    )


def test_a_val_loss_that_rises_together_with_the_train_loss_is_not_overfit():
    points = run(4.2, 1.5, 1.6, train_losses=(4.2, 1.4, 1.45))
    assert "overfit" not in judge(points, LADDER).word


@pytest.mark.parametrize(("rise", "overfit"), [(0.005, False), (0.0, False), (0.02, True)])
def test_a_rise_within_the_noise_of_two_evaluations_is_not_overfit(rise, overfit):
    verdict = judge(run(4.2, 1.5, 1.5 + rise), LADDER)
    assert verdict.word.startswith("overfit") == overfit


@pytest.mark.parametrize(
    ("loss", "passed"),
    [
        (4.3, "is no better than chance"),
        (4.2, "is no better than chance"),
        (4.1, "beats only the uniform"),
        (3.0, "beats only the unigram"),
        (2.4, "beats only the bigram"),
    ],
)
def test_not_beating_the_trigram_is_underfit(loss, passed):
    verdict = judge(run(4.5, loss + 0.1, loss), LADDER)
    assert verdict == Verdict(
        "underfit",
        f"the validation loss of {loss:.3f} {passed}",
        "Train longer (`minutes` or `max_steps`), or raise `learning_rate`",
    )


def test_losses_that_rose_from_the_start_ask_for_a_lower_learning_rate():
    verdict = judge(run(4.2, 9.0, 99.0, train_losses=(4.2, 8.0, 98.0)), LADDER)
    assert (verdict.word, verdict.advice) == ("untrained", "Lower `learning_rate`")


def test_a_model_that_only_memorised_from_the_first_step_on_is_called_untrained():
    verdict = judge(run(4.2, 4.3, 5.1, train_losses=(4.2, 2.0, 1.0)), LADDER)
    assert verdict == Verdict(
        "untrained",
        "the validation loss was never below the 4.200 before the first step, so the model as it "
        "was then is kept",
        "More text or a smaller model would help",
    )


@pytest.mark.parametrize("loss", [1.9, 1.6, 0.5])
def test_beating_the_trigram_is_learning(loss):
    assert judge(run(4.2, loss + 0.5, loss), LADDER).word == "learning"


def test_a_loss_that_still_falls_asks_for_more_steps():
    points = run(4.2, 3.0, 2.5, 2.2, 1.9, 1.6)
    assert judge(points, LADDER) == Verdict(
        "learning",
        "the validation loss fell by another 0.300 in the last fifth of the steps",
        "More steps would lower it further",
    )


def test_a_fall_is_measured_over_the_last_fifth_of_the_steps_only():
    # 10 evaluations after the first: the last fifth begins at step 800.
    points = run(4.2, 3.0, 2.5, 2.2, 2.0, 1.9, 1.8, 1.7, 1.6, 1.57, 1.55)
    assert "fell by another 0.050 in" in judge(points, LADDER).why


def test_a_loss_that_has_settled_asks_for_a_larger_model_or_more_text():
    verdict = judge(run(4.2, 2.0, 1.60, 1.598, 1.597, 1.596), LADDER)
    assert verdict == Verdict(
        "learning",
        "the validation loss has settled at 1.596, below the 5-gram",
        "A larger model or more text would lower it further",
    )


def test_the_verdict_names_the_last_baseline_that_was_beaten():
    assert judge(run(4.2, 1.9, 1.9), LADDER).why.endswith("below the trigram")


def test_a_settled_training_is_judged_by_its_best_evaluation_not_by_its_last():
    verdict = judge(run(4.2, 2.0, 1.695, 1.701, 1.703), LADDER)  # the 5-gram is at 1.7
    assert verdict.why == "the validation loss has settled at 1.695, below the 5-gram"


def test_a_training_whose_first_evaluations_are_lost_can_be_judged():
    verdict = judge([Point(1000, 1.5, 1.6)], LADDER)
    assert verdict.why == "the validation loss has settled at 1.600, below the 5-gram"


def test_a_training_stopped_at_its_first_evaluation_can_be_judged():
    assert judge([Point(0, 4.3, 4.3)], LADDER).word == "underfit"


def test_a_verdict_reads_as_one_line():
    assert str(Verdict("learning", "it falls", "Wait")) == "learning: it falls. Wait."


@given(st.lists(st.tuples(losses, losses), min_size=1, max_size=12))
def test_every_training_has_one_of_four_verdicts_and_the_best_step_is_named(pairs):
    points = [Point(100 * i, a, b) for i, (a, b) in enumerate(pairs)]
    verdict = judge(points, LADDER)
    best = min(points, key=lambda point: (point.val_loss, point.step))
    overfit = f"overfit since step {best.step}"
    assert verdict.word in ("learning", "underfit", "untrained", overfit)
    if verdict.word.startswith("overfit"):
        assert points[-1].val_loss > best.val_loss
        assert points[-1].train_loss < best.train_loss


def test_beating_every_rung_is_not_underfit_where_the_bigram_is_the_lowest():
    small_text = ladder_of(4.2, 3.3, 2.0, 2.2, 2.5)
    assert judge(run(4.2, 1.5, 1.5), small_text).word == "learning"


def test_beating_every_rung_is_not_underfit_where_two_rungs_are_equally_low():
    assert judge(run(4.2, 1.5, 1.5), ladder_of(4.2, 3.3, 2.0, 2.0, 2.0)).word == "learning"


def test_a_rung_above_the_lowest_is_not_enough_where_the_bigram_is_the_lowest():
    small_text = ladder_of(4.2, 3.3, 2.0, 2.2, 2.5)
    assert judge(run(4.2, 3.0, 3.0), small_text).word == "underfit"


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (math.inf, 4.3, None),
        (math.inf, 4.1, "beats the uniform"),
        (4.3, 4.2, None),
        (4.1, 3.2, "beats the unigram"),
        (4.1, 2.1, "beats the bigram"),
        (4.1, 1.0, "beats the 5-gram"),
        (1.9, 1.8, None),
        (1.8, 1.7, None),
        (1.8, 1.69, "beats the 5-gram"),
        (1.6, 1.9, None),
        (1.6, 1.6, None),
        (1.6, 1.0, None),
        (1.9, 4.5, None),
    ],
)
def test_a_milestone_is_the_rung_just_passed(before, now, expected):
    assert milestone(before, now, LADDER) == expected


@given(st.lists(losses, min_size=1, max_size=30))
def test_each_rung_is_announced_at_most_once_in_a_run_of_best_losses(seen):
    best, announced = math.inf, []
    for loss in seen:
        if loss < best:
            announced.append(milestone(best, loss, LADDER))
            best = loss
    announced = [line for line in announced if line]
    assert len(set(announced)) == len(announced)
    rung = LADDER.beaten(best)
    assert announced[-1:] == ([f"beats the {rung.name}"] if rung else [])


@given(before=losses, worse=st.floats(0, 3))
def test_a_loss_that_did_not_fall_is_never_a_milestone(before, worse):
    assert milestone(before, before + worse, LADDER) is None
