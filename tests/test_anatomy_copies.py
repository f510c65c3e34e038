"""Copied or invented: every passage found is there, and none is missed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.texts import story
from zigpt.anatomy.copies import Passage, TrainingText

TEXTS = st.text("ab字", max_size=40)


@given(TEXTS, st.text("ab字x", max_size=12))
def test_no_longer_match_than_the_one_found_occurs_in_the_text(text, piece):
    length, source = TrainingText(text).longest_match(piece)
    assert text[source : source + length] == piece[:length]
    assert length == len(piece) or piece[: length + 1] not in text


@given(TEXTS, st.text("ab字x", max_size=12))
def test_each_passage_occurs_in_both_texts_and_cannot_be_extended(text, sample):
    passages = TrainingText(text).passages(sample)
    for passage in passages:
        end = passage.start + passage.length
        own = sample[passage.start : end]
        assert own == text[passage.source : passage.source + passage.length] != ""
        assert end == len(sample) or sample[passage.start : end + 1] not in text
        assert passage.start == 0 or sample[passage.start - 1 : end] not in text
    covered = {at for p in passages for at in range(p.start, p.start + p.length)}
    assert covered == {at for at, character in enumerate(sample) if character in text}


@pytest.mark.parametrize("times", [1, 2, 300])
def test_a_text_that_repeats_itself_is_found_whole(times):
    text = "abcabd" * times
    assert TrainingText(text).passages(text) == [Passage(0, len(text), 0)]


def test_short_passages_are_left_out_on_request():
    text = TrainingText("to be or not to be")
    assert text.passages("to see or not", 5) == [Passage(5, 8, 4)]
    assert len(text.passages("to see or not", 3)) == 2


def test_matches_with_unseen_text_are_coincidences_and_copied_text_is_a_copy():
    text = story(20_000)
    training = TrainingText(text)
    shortest = training.shortest_copy(story(4000, seed=1))
    fresh, copied = story(3000, seed=2), text[500:560]
    assert 8 < shortest < 60
    called_copies = training.passages(fresh, shortest)
    assert sum(passage.length for passage in called_copies) < 0.03 * len(fresh)
    (found,) = (p for p in training.passages(f"#{copied}#", shortest) if p.length >= 60)
    assert (found.start, found.source) == (1, 500)


def test_a_smaller_chance_of_coincidence_asks_for_longer_passages():
    training, unseen = TrainingText(story(5000)), story(2000, seed=1)
    strict, usual, lax = (training.shortest_copy(unseen, chance) for chance in (0.0, 0.01, 0.5))
    longest = max(passage.length for passage in training.passages(unseen))
    assert strict == longest + 1
    assert strict >= usual > lax > 1
    assert training.shortest_copy("") == 1
