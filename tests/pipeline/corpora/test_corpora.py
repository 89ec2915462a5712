"""Prose out of documentation and out of text files of several layouts."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradtrace.pipeline.corpora.corpora import LABELLED, PAIRS, PYTHON_DOCS, CorpusError, load_corpus
from gradtrace.pipeline.corpora.python_docs import python_docs
from gradtrace.pipeline.corpora.sentences import sentences_of_text, split_sentences
from gradtrace.pipeline.corpora.tokens import tokenize, tokenize_side


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Don't panic, e.g. in sys.path!", "don't panic , e.g. in sys.path !"),
        ("A state-of-the-art 1,000.5 kg (U.S.)...", "a state-of-the-art 1,000.5 kg ( u.s. ) ..."),
        ("the <unk> 's four @-@ lane 1 @,@ 000 road", "the <unk> 's four @-@ lane 1 @,@ 000 road"),
        ("'s and 'same'", "'s and ' same '"),
        (" \t", ""),
    ],
)
def test_tokens(text: str, tokens: str) -> None:
    assert " ".join(tokenize(text)) == tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("L'homme n’aime qu'elle.", "l' homme n’ aime qu' elle ."),
        ("l' arbre d&apos; hommes", "l' arbre d' hommes"),
        ("a woman &apos;s dog, the men's", "a woman 's dog , the men's"),
    ],
)
def test_tokens_of_a_side_of_a_pair(text: str, tokens: str) -> None:
    assert " ".join(tokenize_side(text)) == tokens
    assert " ".join(tokenize_side(tokens)) == tokens


def test_case_is_kept_on_request() -> None:
    assert tokenize("The Cat", lowercase=False) == ["The", "Cat"]


@given(st.text())
def test_tokenising_tokens_changes_nothing(text: str) -> None:
    tokens = tokenize(text)
    assert tokenize(" ".join(tokens)) == tokens


@pytest.mark.parametrize(
    ("paragraph", "sentences"),
    [
        ("One. Two! Is it? 4 are.", ["One.", "Two!", "Is it?", "4 are."]),
        ("See e.g. Foo and J. Doe. It ends (here.) Next.", ["See e.g. Foo and J. Doe.", "It ends (here.)", "Next."]),
        ("the end . and on . ", ["the end .", "and on ."]),
        ('He said " stop . " Then he left .', ['He said " stop . "', "Then he left ."]),
        ("version 3.11 is out. fine", ["version 3.11 is out. fine"]),
        ("", []),
    ],
)
def test_sentences_of_a_paragraph(paragraph: str, sentences: list[str]) -> None:
    assert split_sentences(paragraph) == sentences


def test_one_sentence_per_line() -> None:
    assert sentences_of_text("A cat sits.\nA dog runs to Dr. Who.\n") == ["A cat sits.", "A dog runs to Dr. Who."]


def test_one_sentence_per_line_without_stops() -> None:
    assert sentences_of_text("no it was n't\nthey sold shares\n") == ["no it was n't", "they sold shares"]


def test_a_paragraph_per_line_with_headings_as_in_wikitext() -> None:
    text = (
        " \n = Crab = \n \n It is big . It is blue . \n = = Use = = \n \n It may grow . They eat it . It is <unk> . \n"
    )
    expected = ["It is big .", "It is blue .", "It may grow .", "They eat it .", "It is <unk> ."]
    assert sentences_of_text(text) == expected


def test_paragraphs_broken_into_lines() -> None:
    text = "It was the best of\ntimes. It was the\nworst of times.\n\nIt was the age of\nwisdom.\n"
    expected = ["It was the best of times.", "It was the worst of times.", "It was the age of wisdom."]
    assert sentences_of_text(text) == expected


def test_python_docs_is_prose() -> None:
    sentences = python_docs()
    assert len(sentences) > 500
    assert len(set(sentences)) == len(sentences)
    for sentence in sentences:
        assert re.match(r"\(?\w", sentence)
        assert re.search(r"[.!?][')]*$", sentence)
        assert not re.search(r'::=|>>>|==|[{}<>|"`]|\w\(|\n', sentence)
    tokens = [token for sentence in sentences for token in tokenize(sentence)]
    assert tokens.count("the") / len(tokens) > 0.04  # as in English


def test_python_docs_is_the_same_each_time() -> None:
    assert load_corpus(PYTHON_DOCS) == load_corpus(PYTHON_DOCS)


def test_every_tenth_sentence_is_held_out(corpus_file: Path) -> None:
    corpus = load_corpus(str(corpus_file))
    lines = [" ".join(tokenize(line)) for line in corpus_file.read_text(encoding="utf-8").splitlines()]
    assert corpus.held_out == lines[9::10]
    assert len(corpus.train) + len(corpus.held_out) == len(lines)
    assert corpus.fingerprint != load_corpus(str(corpus_file), held_out_every=5).fingerprint


def test_long_sentences_are_left_out(corpus_file: Path) -> None:
    corpus = load_corpus(str(corpus_file), longest=6)
    assert max(len(line.split()) for line in corpus.train + corpus.held_out) == 6


@pytest.mark.parametrize("text", ["", "\n\n", "One sentence only.\n"])
def test_too_little_text(tmp_path: Path, text: str) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text(text)
    with pytest.raises(CorpusError, match="at least 10 are needed"):
        load_corpus(str(path))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="Did you mean python-docs"):
        load_corpus("python_docs")
    with pytest.raises(CorpusError, match="cannot be read"):
        load_corpus(str(tmp_path))
    (tmp_path / "latin").write_bytes(b"caf\xe9 au lait")
    with pytest.raises(CorpusError, match="not UTF-8"):
        load_corpus(str(tmp_path / "latin"))


ENGLISH = "a cat .\n\na dog .\n" * 10
FRENCH = "un chat .\n\nun chien .\n" * 10


def test_parallel_files_plain_and_gzipped(tmp_path: Path) -> None:
    (tmp_path / "en").write_text(ENGLISH)
    (tmp_path / "fr.gz").write_bytes(gzip.compress(FRENCH.encode()))
    corpus = load_corpus(f"{tmp_path / 'en'},{tmp_path / 'fr.gz'}", PAIRS)
    assert corpus.train[:2] == ["a cat .\tun chat .", "a dog .\tun chien ."]
    assert len(corpus.train + corpus.held_out) == 20  # pairs of empty lines are left out
    assert len(corpus.held_out) == 2


def test_parallel_files_have_the_lines_of_line_feeds(tmp_path: Path) -> None:
    (tmp_path / "en").write_bytes("A\u2028cat.\r\nTwo\x85dogs.\r\n".encode() * 10)
    (tmp_path / "fr").write_bytes(b"Un chat.\nDeux chiens.\n" * 10)
    corpus = load_corpus(f"{tmp_path / 'en'},{tmp_path / 'fr'}", PAIRS)
    assert corpus.train[:2] == ["a cat .\tun chat .", "two dogs .\tdeux chiens ."]


def test_pairs_and_labels_in_one_file(tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_text("A cat.\tUn chat.\n" * 10)
    assert load_corpus(str(tmp_path / "pairs.tsv"), PAIRS).train[0] == "a cat .\tun chat ."
    (tmp_path / "labels.tsv").write_text("Very Good\tA cat.\n" * 10)
    assert load_corpus(str(tmp_path / "labels.tsv"), LABELLED).train[0] == "Very Good\ta cat ."


def test_files_that_do_not_fit_the_task(tmp_path: Path) -> None:
    (tmp_path / "en").write_text("a\nb\n")
    (tmp_path / "fr").write_text("a\n")
    with pytest.raises(CorpusError, match=r"has 2 lines and .* has 1 lines"):
        load_corpus(f"{tmp_path / 'en'},{tmp_path / 'fr'}", PAIRS)
    with pytest.raises(CorpusError, match="names 3 files"):
        load_corpus("a,b,c", PAIRS)
    with pytest.raises(CorpusError, match="1 fields; source TAB target is wanted"):
        load_corpus(str(tmp_path / "en"), PAIRS)
    with pytest.raises(CorpusError, match="1 fields; label TAB text is wanted"):
        load_corpus(str(tmp_path / "en"), LABELLED)
    with pytest.raises(CorpusError, match="Did you mean opinions"):
        load_corpus("opinion", LABELLED)
    (tmp_path / "broken.gz").write_bytes(b"no gzip")
    with pytest.raises(CorpusError, match="cannot be read"):
        load_corpus(str(tmp_path / "broken.gz"))


def test_a_generated_corpus_has_as_many_samples_as_its_name_says() -> None:
    corpus = load_corpus("agreement:50")
    assert len(corpus.train + corpus.held_out) == 50
    assert load_corpus("translation:20", PAIRS) == load_corpus("translation:20", PAIRS)
