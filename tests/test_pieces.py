"""Byte-pair merges against a slow and obvious one that works on lists of pieces."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.texts import story
from zigpt.data import pieces as module
from zigpt.data.pieces import Pieces, merge_pairs

POEM = "枯藤老樹昏鴉，小橋流水人家，古道西風瘦馬。夕陽西下，斷腸人在天涯。枯藤老樹，小橋流水。"
few_letters = st.text("ab字", min_size=1, max_size=40)


def slow_merges(text: str, merges: int) -> list[tuple[int, list[str]]]:
    """Vocabulary size and pieces of every stage; an id is a place in `vocabulary`."""
    vocabulary = sorted(set(text))
    ids = [vocabulary.index(character) for character in text]
    stages = [(len(vocabulary), [vocabulary[i] for i in ids])]
    for _ in range(merges):
        counts = Counter(pairwise(ids))
        if not counts or max(counts.values()) < 2:
            break
        best = min(pair for pair, count in counts.items() if count == max(counts.values()))
        joined: list[int] = []
        i = 0
        while i < len(ids):
            if tuple(ids[i : i + 2]) == best:
                joined.append(len(vocabulary))
                i += 2
            else:
                joined.append(ids[i])
                i += 1
        vocabulary.append(vocabulary[best[0]] + vocabulary[best[1]])
        ids = joined
        stages.append((len(vocabulary), [vocabulary[i] for i in ids]))
    return stages


def expected(text: str, merges: int) -> list[Pieces]:
    return [
        Pieces(size, sum(map(len, pieces)) / len(pieces))
        for size, pieces in slow_merges(text, merges)
    ]


@given(text=few_letters, merges=st.integers(0, 30))
def test_every_stage_equals_that_of_slow_and_obvious_merging(text, merges):
    assert list(merge_pairs(text, merges)) == expected(text, merges)


@pytest.mark.parametrize("text", [POEM, story(400), "ab" * 30, "a" * 31, "abcab abcab"])
def test_running_text_merges_like_the_slow_way(text):
    assert list(merge_pairs(text, 25)) == expected(text, 25)


def test_the_slow_way_loses_no_character():
    for _, pieces in slow_merges(POEM, 50):
        assert "".join(pieces) == POEM


def test_overlapping_pairs_are_joined_from_the_left():
    # aaa -> [aa]a; aaaa -> [aa][aa]; aaaaa -> [aa][aa]a
    for length, pieces in [(3, 2), (4, 2), (5, 3), (6, 3)]:
        _, first, *_ = merge_pairs("a" * length, 1)
        assert first == Pieces(2, length / pieces)


def test_each_run_is_merged_from_its_own_start():
    # aaa b aa -> [aa]a b [aa]
    assert list(merge_pairs("aaabaa", 1))[1] == Pieces(3, 6 / 4)


def test_ties_go_to_the_pair_of_smaller_ids():
    # "ab" and "cd" both occur twice; only ab first makes "abx" repeat next.
    assert list(merge_pairs("cdycdzabxabx", 4)) == expected("cdycdzabxabx", 4)
    sizes = [stage.chars_per_piece for stage in merge_pairs("cdabxabx_cd", 2)]
    assert sizes == [1.0, 11 / 9, 11 / 7]


@pytest.mark.parametrize("text", ["a", "ab", "abc", "天地玄黃"])
def test_a_text_in_which_no_pair_repeats_is_left_unchanged(text):
    assert list(merge_pairs(text, 100)) == [Pieces(len(text), 1.0)]


def test_it_stops_as_soon_as_no_pair_repeats():
    # abab -> [ab][ab]: that pair occurs once.
    assert list(merge_pairs("abab", 100)) == [Pieces(2, 1.0), Pieces(3, 2.0)]


def test_chinese_pairs_are_whole_characters():
    first, second, *_ = merge_pairs("小橋流水小橋人家", 9)
    assert first == Pieces(6, 1.0)
    assert second == Pieces(7, 8 / 6)  # 小橋 twice: 8 characters in 6 pieces


def test_characters_beyond_the_basic_plane_merge_like_any_other():
    assert list(merge_pairs("𠀀𪜀" * 2 + "a", 5)) == expected("𠀀𪜀" * 2 + "a", 5)


@given(text=few_letters, merges=st.integers(0, 12))
def test_each_merge_adds_one_piece_to_the_vocabulary_and_shortens_the_text(text, merges):
    stages = list(merge_pairs(text, merges))
    assert len(stages) <= merges + 1
    assert stages[0] == Pieces(len(set(text)), 1.0)
    for before, after in pairwise(stages):
        assert after.vocab_size == before.vocab_size + 1
        assert after.chars_per_piece > before.chars_per_piece


def test_only_the_beginning_of_a_long_text_is_counted(monkeypatch):
    monkeypatch.setattr(module, "MOST_CHARACTERS", 50)
    text = "ab" * 25 + "xyz" * 100
    assert list(merge_pairs(text, 20)) == expected(text[:50], 20)


def test_stages_come_one_by_one():
    stages = merge_pairs(story(2000), 10**9)
    assert next(stages).chars_per_piece == 1.0
    assert next(stages).chars_per_piece > 1.0
