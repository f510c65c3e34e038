"""Text <-> ids: exact, named refusals, smallest types."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zigpt.errors import VocabularyError
from zigpt.tokenizers.char import CharTokenizer


@given(st.text(min_size=1, alphabet=st.characters(codec="utf-8")))
def test_decoding_inverts_encoding(text):
    tokenizer = CharTokenizer.from_text(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_ids_follow_code_point_order():
    tokenizer = CharTokenizer.from_text("字 zebra\nA")
    assert tokenizer.vocabulary == "\n Aaberz字"
    assert tokenizer.encode("\n字").tolist() == [0, 8]


@pytest.mark.parametrize(
    ("vocab_size", "dtype"), [(1, "uint8"), (256, "uint8"), (257, "uint16"), (100_000, "uint32")]
)
def test_ids_take_the_smallest_type_that_holds_the_vocabulary(vocab_size, dtype):
    text = "".join(map(chr, range(0x10000, 0x10000 + vocab_size)))
    tokenizer = CharTokenizer.from_text(text * 2)
    ids = tokenizer.encode(text * 2)
    assert tokenizer.vocab_size == vocab_size
    assert ids.dtype == dtype
    assert np.array_equal(ids, np.tile(np.arange(vocab_size), 2))


def test_long_texts_are_encoded_across_chunk_borders():
    text = "abcdefg" * 30_000
    tokenizer = CharTokenizer.from_text(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_unknown_characters_are_named_with_code_point_and_first_position():
    tokenizer = CharTokenizer.from_text("abc ")
    with pytest.raises(VocabularyError) as refusal:
        tokenizer.encode("a字b字!")
    assert refusal.value.exit_code == 3
    assert "'字' (U+5B57) at 1, '!' (U+0021) at 4" in refusal.value.what
    assert "4 characters" in refusal.value.what
    assert refusal.value.fix == "leave them out, or set `unknown` to drop or replace"


def test_unknown_ascii_may_be_replaced_by_an_id_beyond_a_byte():
    tokenizer = CharTokenizer("".join(map(chr, range(0x4E00, 0x4E00 + 3000))) + "\ufffd")
    assert tokenizer.decode(tokenizer.encode("ab", "replace")) == "\ufffd\ufffd"
    assert len(tokenizer.encode("ab", "drop")) == 0


def test_of_many_unknown_characters_five_are_named_and_the_rest_counted():
    with pytest.raises(VocabularyError, match="and 3 more"):
        CharTokenizer("a").encode("bcdefghi")


@pytest.mark.parametrize(
    ("typed", "meant"), [("Ａ", "A"), ("é", "e"), ("B", "b"), ("，", ",")], ids=str
)
def test_a_refusal_offers_the_character_that_was_probably_meant(typed, meant):
    with pytest.raises(VocabularyError) as refusal:
        CharTokenizer(",Abe").encode(typed)
    assert f"{typed!r} -> {meant!r}" in refusal.value.fix


def test_the_parts_of_a_composed_character_are_a_near_miss_of_it():
    with pytest.raises(VocabularyError) as refusal:
        CharTokenizer("ex\u00e9").encode("xe\u0301x")
    assert "'e\u0301' -> '\u00e9'" in refusal.value.fix


def test_a_position_counts_from_the_start_of_the_longer_text():
    with pytest.raises(VocabularyError, match=r"'b' \(U\+0062\) at 1,001"):
        CharTokenizer("a").encode("ab", start=1000)


def test_a_typed_backslash_n_is_explained():
    with pytest.raises(VocabularyError) as refusal:
        CharTokenizer("\nn").encode("\\n")
    assert "$'\\n'" in refusal.value.fix


def test_unknown_characters_can_be_dropped_or_replaced():
    tokenizer = CharTokenizer.from_text("a?b")
    assert tokenizer.decode(tokenizer.encode("aXb", unknown="drop")) == "ab"
    assert tokenizer.decode(tokenizer.encode("aXb", unknown="replace")) == "a?b"


def test_replacing_without_a_stand_in_is_refused():
    with pytest.raises(VocabularyError, match="cannot replace"):
        CharTokenizer("ab").encode("X", unknown="replace")


@pytest.mark.parametrize("characters", ["", "ba", "aab"])
def test_a_vocabulary_must_be_distinct_and_sorted(characters):
    with pytest.raises(ValueError, match="distinct characters"):
        CharTokenizer(characters)


@pytest.mark.parametrize("ids", [[-1], [3], [2**40]])
def test_ids_outside_the_vocabulary_are_refused(ids):
    with pytest.raises(ValueError, match="from 0 to 2"):
        CharTokenizer("abc").decode(ids)
