"""The survey against naive searches of the same text, and the advice against made-up surveys."""

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zigpt.data import survey as module
from zigpt.data.survey import SHORT, SPAN, Survey, advice, survey

HEALTHY = Survey(
    characters=1_000_000,
    lines=40_000,
    distinct=65,
    rarest=(("$", 1),),
    singletons=1,
    unseen_in_train=(),
    repeated=0.001,
    overlap=0.0,
    shift=0.01,
    examined=1_000_000,
)


def noise(length: int, seed: int) -> str:
    """Text that repeats nothing: no 64 characters in a row agree by chance."""
    return "".join(random.Random(seed).choices("abcdefghijklmnop", k=length))


def covered(text: str, starts: list[int], begin: int = 0) -> float:
    """Naive share: collect every position that lies in a span."""
    inside = {at for start in starts for at in range(start, start + SPAN)}
    return len(inside) / (len(text) - begin)


def naive_repeated(text: str) -> float:
    spans = range(len(text) - SPAN + 1)
    # find() returns the first occurrence, which may overlap the span itself.
    return covered(text, [at for at in spans if text.find(text[at : at + SPAN]) < at])


def naive_overlap(text: str, n_train: int) -> float:
    spans = range(n_train, len(text) - SPAN + 1)
    found = [at for at in spans if text[at : at + SPAN] in text[:n_train]]
    return covered(text, found, begin=n_train)


# Slices of one short source, glued together: full of repeats of every length and overlap.
glued = st.lists(st.tuples(st.integers(0, 200), st.integers(1, 150)), min_size=1, max_size=8).map(
    lambda slices: "".join(noise(350, 0)[start : start + length] for start, length in slices)
)


@settings(max_examples=30, deadline=None)
@given(glued, st.floats(0, 1))
def test_shares_agree_with_a_naive_search(text: str, share: float) -> None:
    n_train = round(share * (len(text) - 1))
    seen = survey(text, n_train)
    assert seen.repeated == pytest.approx(naive_repeated(text))
    assert seen.overlap == pytest.approx(naive_overlap(text, n_train))


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=300), st.floats(0, 1))
def test_characters_agree_with_a_naive_count(text: str, share: float) -> None:
    n_train = round(share * len(text))
    seen = survey(text, n_train)
    counts = Counter(text)
    assert (seen.characters, seen.distinct) == (len(text), len(counts))
    assert seen.rarest == tuple(sorted(counts.items(), key=lambda item: (item[1], item[0]))[:10])
    assert seen.singletons == sum(count == 1 for count in counts.values())
    assert seen.unseen_in_train == tuple(sorted(set(text[n_train:]) - set(text[:n_train])))


@pytest.mark.parametrize(
    ("text", "lines"), [("", 0), ("a", 1), ("a\n", 1), ("a\nb", 2), ("\n\n", 2), ("a\u2028b", 1)]
)
def test_a_line_ends_with_a_newline_or_with_the_text(text: str, lines: int) -> None:
    assert survey(text, 0).lines == lines


def test_a_passage_in_both_splits_counts_in_full() -> None:
    passage = noise(100, 1)
    text = noise(500, 2) + passage + noise(500, 3) + noise(200, 4) + passage + noise(700, 5)
    seen = survey(text, 1100)
    assert seen.overlap == pytest.approx(100 / 1000)
    assert seen.repeated == pytest.approx(100 / 2100)


def test_only_spans_of_64_characters_count() -> None:
    passage = noise(64, 6)
    assert survey(f"{passage}1{passage}2", 0).repeated == pytest.approx(64 / 130)
    assert survey(f"{passage[1:]}1{passage[1:]}2", 0).repeated == 0
    assert survey("a" * 65, 0).repeated == pytest.approx(64 / 65)


@pytest.mark.parametrize(("one", "other"), [(1, 2), (1, 32), (3, 5), (7, 56), (30, 31), (0, 63)])
def test_two_exchanged_characters_make_another_passage(one: int, other: int) -> None:
    # A sum over the characters would not notice; a fingerprint depends on their order.
    passage = list("0" * 64)
    passage[one] = "1"
    exchanged = list("0" * 64)
    exchanged[other] = "1"
    assert survey("".join([*passage, "|", *exchanged, "|"]), 65).overlap == 0


def test_a_passage_across_the_border_counts_for_neither_split() -> None:
    passage = noise(SPAN, 7)
    text = noise(300, 8) + passage + noise(300, 9) + passage
    assert survey(text, 300 + SPAN // 2).overlap == 0
    assert survey(text, 300 + SPAN).overlap == pytest.approx(SPAN / (300 + SPAN))


def test_repeats_within_one_split_are_not_overlap() -> None:
    passage = noise(200, 10)
    text = noise(500, 11) + passage + passage
    seen = survey(text, 500)
    assert seen.overlap == 0
    assert seen.repeated == pytest.approx(200 / 900)


def test_every_occurrence_but_the_first_is_a_repeat() -> None:
    assert survey("a" * 1000, 500).repeated == pytest.approx(0.999)
    assert survey("a" * 1000, 500).overlap == 1


@pytest.mark.parametrize("length", [0, 1, SPAN - 1])
def test_a_text_shorter_than_a_span_repeats_nothing(length: int) -> None:
    seen = survey("a" * length, length // 2)
    assert (seen.repeated, seen.overlap, seen.examined) == (0, 0, length)


def test_a_text_without_a_validation_split_overlaps_nothing() -> None:
    seen = survey("a" * 500, 500)
    assert (seen.overlap, seen.unseen_in_train) == (0, ())


def test_wide_characters_and_half_surrogates_count_like_others() -> None:
    passage = "字𠀀\ud800" + noise(SPAN, 12)
    seen = survey(passage + noise(100, 13) + passage + "自", len(passage) + 100)
    assert seen.overlap == pytest.approx(len(passage) / (len(passage) + 1))
    assert seen.unseen_in_train == ("自",)


def test_a_long_text_is_counted_whole_and_searched_partially(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_EXAMINED", 12_800)
    monkeypatch.setattr(module, "PIECE", 1000)
    text = noise(50_000, 14) + "字" + "ab" * 5000
    seen = survey(text, 55_001)
    assert (seen.characters, seen.examined) == (60_001, 12_800)
    assert (seen.distinct, seen.rarest[0]) == (17, ("字", 1))
    # One sixth of the text and all of its validation split repeat; the excerpts sample that evenly.
    assert seen.repeated == pytest.approx(1 / 6, abs=0.02)
    assert seen.overlap == 1


def test_excerpts_keep_both_ends_and_the_border(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_EXAMINED", 12_800)
    text = "r" * 90_000 + "e" * 10_000
    part, n_train = module._excerpts(text, 90_000)
    assert part == "r" * n_train + "e" * (12_800 - n_train)
    assert n_train == pytest.approx(0.9 * 12_800, abs=200)
    tail, n_train = module._excerpts(text, 99_990)
    assert len(tail) - n_train == 10


@pytest.mark.parametrize("n_train", [-1, 4])
def test_a_split_outside_the_text_is_refused(n_train: int) -> None:
    with pytest.raises(ValueError, match=f"expected n_train from 0 to 3, got {n_train}: split"):
        survey("abc", n_train)


def test_a_healthy_text_needs_no_advice() -> None:
    assert advice(HEALTHY) == ()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"distinct": 1},
            "the text repeats a single character: there is nothing to predict",
        ),
        (
            {"characters": 12_345, "examined": 12_345},
            "the text has only 12,345 characters: the model will soon memorise it, so go by the "
            "best validation loss, not the last",
        ),
        (
            {"characters": 200_000, "examined": 200_000, "distinct": 40_001},
            "the 40,001 distinct characters occur fewer than 5 times each on average: expect a "
            "loss near that of the unigram, which only counts characters",
        ),
        (
            {"unseen_in_train": tuple("abc")},
            "characters in the validation split only: 3; what the train split lacks cannot be "
            "learned",
        ),
        (
            {"unseen_in_train": ("a",)},
            "characters in the validation split only: 1; what the train split lacks cannot be "
            "learned",
        ),
        (
            {"distinct": 6074, "singletons": 1234},
            "1,234 of the 6,074 distinct characters occur only once: too rare to learn",
        ),
        (
            {"overlap": 0.12},
            "12% of the validation split also occurs in the train split: the validation loss "
            "will flatter the model",
        ),
        (
            {"repeated": 0.5},
            "50% of the text repeats an earlier passage word for word: the model will memorise "
            "these passages",
        ),
    ],
)
def test_each_problem_is_reported_in_one_line(change: dict[str, object], line: str) -> None:
    assert advice(replace(HEALTHY, **change)) == (line,)  # type: ignore[arg-type]


def test_a_partial_search_is_reported_and_its_shares_are_lower_bounds() -> None:
    lines = advice(replace(HEALTHY, characters=60_000_000, overlap=0.12, repeated=0.2))
    assert lines[0] == (
        "only 1,000,000 of 60,000,000 characters were searched for repeated passages: a copy far "
        "from the original may be missed"
    )
    assert lines[1].startswith("at least 12% of the validation split")
    assert lines[2].startswith("at least 20% of the text")


@pytest.mark.parametrize(
    "change",
    [
        {"overlap": 0.009},
        {"repeated": 0.04},
        {"singletons": 6},
        {"characters": SHORT, "examined": SHORT},
    ],
)
def test_what_does_not_matter_is_not_reported(change: dict[str, object]) -> None:
    assert advice(replace(HEALTHY, **change)) == ()  # type: ignore[arg-type]
