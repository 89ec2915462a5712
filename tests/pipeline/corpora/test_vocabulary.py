"""Words and their numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradtrace.exporters.models import ModelError
from gradtrace.pipeline.corpora.vocabulary import Vocabulary, build_vocabulary, load_vocabulary, save_vocabulary

SENTENCES = [["b", "a", "c"], ["a", "b"], ["d", "<unk>", "<unk>", "<unk>", "<eos>"]]


def test_most_frequent_first_then_alphabetical() -> None:
    assert build_vocabulary(SENTENCES, 100).words == ("<unk>", "<eos>", "a", "b", "c", "d")


def test_size_counts_the_special_words() -> None:
    assert build_vocabulary(SENTENCES, 4).words == ("<unk>", "<eos>", "a", "b")


def test_no_room_for_words() -> None:
    with pytest.raises(ModelError, match="no room"):
        build_vocabulary(SENTENCES, 2)


def test_encode_and_decode() -> None:
    vocabulary = build_vocabulary(SENTENCES, 5)
    assert vocabulary.encode(["c", "zebra", "<eos>"]) == [4, 0, 1]
    assert vocabulary.decode([4, 0, 1]) == ["c", "<unk>", "<eos>"]
    assert "c" in vocabulary
    assert "zebra" not in vocabulary


@pytest.mark.parametrize("number", [-1, 5])
def test_decode_refuses_numbers_of_no_word(number: int) -> None:
    with pytest.raises(IndexError, match="from 0 to 4"):
        build_vocabulary(SENTENCES, 5).decode([number])


def test_on_disk(tmp_path: Path) -> None:
    vocabulary = build_vocabulary([["naïve", "Größe", '"']], 10, lowercase=False)
    save_vocabulary(vocabulary, tmp_path / "vocabulary.json")
    assert load_vocabulary(tmp_path / "vocabulary.json") == vocabulary


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.json"
    with pytest.raises(ModelError, match="missing"):
        load_vocabulary(path)
    for text in ("{", "[]", '{"words": ["<unk>", "<eos>", 3], "lowercase": true}', '{"words": []}'):
        path.write_text(text)
        with pytest.raises(ModelError, match="damaged"):
            load_vocabulary(path)


def test_words_are_unique_and_start_with_the_special_ones() -> None:
    with pytest.raises(ModelError, match="more than once"):
        Vocabulary(("<unk>", "<eos>", "a", "a"))
    with pytest.raises(ModelError, match="starts with"):
        Vocabulary(("a", "<unk>", "<eos>"))
