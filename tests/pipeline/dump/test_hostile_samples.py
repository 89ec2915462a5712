"""Samples files made to do harm: a bad line is a sample with a status, a bad file is one line, and neither ends in a
traceback or never.
"""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gradtrace.exporters.models import Encoded, SampleError
from gradtrace.exporters.store.settings import Settings
from gradtrace.pipeline.dump import arrays as reading_arrays
from gradtrace.pipeline.dump import lines as reading_lines
from gradtrace.pipeline.dump.arrays import tensor_of_numbers
from gradtrace.pipeline.dump.dump import dump
from gradtrace.pipeline.dump.lines import read_lines
from gradtrace.pipeline.dump.models import OpenedModel
from gradtrace.pipeline.dump.samples import make_samples, read_samples
from gradtrace.queries import open_store

from ..studies import assert_one_line_error, assert_same_tables, gradtrace, rows

GOOD = {"input_ids": [[1, 2, 4]], "targets": [[2, 4, 1]]}
ITS_LINE = json.dumps(GOOD)


def with_(**more: Any) -> str:
    """The good line, with more said in it."""
    return json.dumps({**GOOD, **more})


BAD_OBJECTS = {
    '{"text": "\\ud800"}': "'\\ud800' is half of a character",
    '{"input_ids": [[1]], "targets": [[1]], "tokens": ["\\udfff"]}': "'\\udfff' is half of a character",
    '{"input_ids": [[1]], "targets": [[1]], "labels": {"\\ud800": 1}}': "'\\ud800' is half of a character",
    '{"\\ud800": [[1]]}': "'\\ud800' is half of a character",
    '{"input_ids": ' + "[" * 100_000 + "]" * 100_000 + "}": "its lists are nested too deeply",
    "[" * 200_000: "its lists are nested too deeply",
    '{"input_ids": ' + "[" * 70 + "1" + "]" * 70 + "}": "is not an object of nested lists of numbers",
    '{"input_ids": [[1]], "input_ids": [[2]]}': "'input_ids' is given twice",
    '{"input_ids": [[1]], "labels": {"a": 1, "a": 2}}': "'a' is given twice",
    '{"input_ids": [[9223372036854775808]], "targets": [[1]]}': "9223372036854775808 is beyond the whole numbers",
    '{"input_ids": [[-9223372036854775809]], "targets": [[1]]}': "is not a number, or one beyond 64 bits",
    '{"input_ids": [[1' + "0" * 400 + ']], "targets": [[1]]}': "is not a number, or one beyond 64 bits",
    '{"input_ids": [[' + "9" * 5000 + ']], "targets": [[1]]}': "Exceeds the limit",
    '{"input_ids": [[1, 2], [3]], "targets": [[1, 2]]}': "is not an object of nested lists of numbers",
    '{"input_ids": [[1e999]], "targets": [[1]]}': "the model's forward failed on this sample",
    '{"input_ids": [[NaN]], "targets": [[1]]}': "the model's forward failed on this sample",
    '{"input_ids": [[true, false, true]], "targets": [[1, 2, 3]]}': "the model's forward failed on this sample",
    '{"input_ids": 1, "targets": 1}': "the model's forward failed on this sample",
    '{"input_ids": [], "targets": []}': "the model's forward failed on this sample",
    '{"input_ids": [["1"]], "targets": [[1]]}': "is not a number",
    '{"input_ids": [[null]], "targets": [[1]]}': "is not a number",
    '{"input_ids": {"a": 1}, "targets": [[1]]}': "is not a number",
    '{"": [[1, 2]], "targets": [[2, 1]]}': "''",
    '{"a\\u001b[31mb": [[1]]}': "a\\x1b[31mb",
    with_(first_token={"input_ids": 99}): "first_token of 'input_ids' is 99",
    with_(first_token={"input_ids": [0]}): "first_token of 'input_ids' is [0]",
    with_(first_token={"other": 0}): "first_token names the input 'other'",
    with_(first_token=[0]): "'first_token' is [0]",
    with_(labels={"a": [1]}): "'labels' is",
    with_(labels="a"): "'labels' is",
    with_(tokens={"a": 1}): "'tokens' is",
    '{"text": null}': "'text' is null",
    '{"text": "\\u0000 \\n"}'.replace("\\u0000", ""): "'text' is",
    "null": "it is of type NoneType",
    "1": "it is of type int",
    '"a"': "it is of type str",
    "\x00": "is not an object",
    ITS_LINE + ITS_LINE: "Extra data",
    ITS_LINE[:-1]: "is not an object",
    "{'input_ids': [[1]]}": "is not an object",
    "{input_ids: [[1]]}": "is not an object",
    "\ufeff" + ITS_LINE: "is not an object",  # a byte order mark belongs to the file's beginning
}


@pytest.fixture(scope="module")
def hostile(rnn: OpenedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of the good line, every bad one, one that is no UTF-8, and the good one again."""
    folder = tmp_path_factory.mktemp("hostile")
    lines = [line.encode() for line in (ITS_LINE, *BAD_OBJECTS)]
    (folder / "s.jsonl").write_bytes(b"\n".join([*lines, b'{"text": "\xc3("}', ITS_LINE.encode() + b"\r\n"]))
    samples = read_samples(folder / "s.jsonl", rnn.encode)
    summary = dump(rnn.traced, samples, folder / "store", Settings("study"))
    assert (summary.stored, len(summary.failed)) == (2, len(BAD_OBJECTS) + 1)
    again = dump(rnn.traced, samples, folder / "store", Settings("study"))
    assert (again.before, again.stored, again.failed) == (len(samples.samples), 2, summary.failed)
    return folder / "store"


@pytest.mark.parametrize(("number", "message"), list(enumerate(BAD_OBJECTS.values(), start=1)))
def test_a_bad_object_is_a_sample_with_a_status(hostile: Path, number: int, message: str) -> None:
    row = rows(hostile, "samples").to_pylist()[number]
    assert (row["sample"], row["status"]) == (number, "invalid")
    assert message in row["message"]
    assert row["message"].isprintable()
    assert len(row["message"]) < 1000


def test_the_good_lines_beside_them(hostile: Path) -> None:
    found = rows(hostile, "samples").to_pylist()
    assert [row["status"] for row in (found[0], found[-1])] == ["ok", "ok"]
    assert "is not UTF-8 text (invalid continuation byte at byte 10 of the line)" in found[-2]["message"]
    assert_same_tables(hostile, hostile, (0, len(found) - 1))
    with open_store(hostile) as store:
        assert [check for check in store.verify() if not check.ok] == []


def test_bad_lines_of_text(rnn: OpenedModel, tmp_path: Path) -> None:
    lines = [b"the cat", b"the \xff cat", b" \t ", b"\x00", b"\xed\xa0\x80", b"dog\r", b"a\rcat", b"\xf0\x9f\x90\xb1"]
    (tmp_path / "s.txt").write_bytes(b"\n".join(lines))
    dump(rnn.traced, read_samples(tmp_path / "s.txt", rnn.encode), tmp_path / "store", Settings("study"))
    found = [(row["text"], row["status"]) for row in rows(tmp_path / "store", "samples").to_pylist()]
    assert found == [
        ("the cat", "ok"),
        ("the \\xff cat", "invalid"),
        (" \t ", "invalid"),
        ("\x00", "ok"),  # a word out of the vocabulary
        ("\\xed\\xa0\\x80", "invalid"),
        ("dog", "ok"),
        ("a\rcat", "ok"),
        ("\N{CAT FACE}", "ok"),
    ]
    with open_store(tmp_path / "store") as store:
        assert store.rows("select text from samples")["text"].to_pylist() == [text for text, _ in found]


def test_a_line_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which no more is kept in memory than a line may have."""
    monkeypatch.setattr(reading_lines, "LONGEST", 10)
    (tmp_path / "s.txt").write_bytes(b"1234567890\n" + b"x" * 35 + b"\n12345678901\nshort\r\n" + b"y" * 30)
    found = list(read_lines(tmp_path / "s.txt"))
    too_long = ("", "has more than 10 bytes, the most that a line may have")
    assert found == [("1234567890", ""), too_long, too_long, ("short", ""), too_long]


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_ends_of_lines_and_files(tmp_path: Path, mark: str, end: str) -> None:
    (tmp_path / "s.txt").write_bytes(f"{mark}one\r\n\r\n{mark}two{end}".encode())
    assert [line.text for line in read_lines(tmp_path / "s.txt")] == ["one", "", f"{mark}two"]


def test_escape_sequences_do_not_reach_the_terminal(models_file: Path, tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text(f'{ITS_LINE}\n{{"\\u001b]0;owned\\u0007": [[1]]}}\n', encoding="utf-8")
    out = tmp_path / "st\x1bore"
    ran = gradtrace("dump", f"{models_file}:rnn", "--samples", tmp_path / "s.jsonl", "--out", out)
    assert ran.code == 1
    assert "\\x1b]0;owned\\x07" in ran.err
    assert "st\\x1bore: 1 samples stored" in ran.out
    assert (ran.out + ran.err).replace("\n", "").isprintable()


# From Python


@pytest.mark.parametrize("token", ["\ud800", 3, None, b"cat"])
def test_tokens_that_are_no_words(token: Any) -> None:
    with pytest.raises(SampleError, match="a word is wanted"):
        Encoded({"x": torch.ones(1)}, ["the", token])


def test_an_encoder_that_gives_such_tokens(rnn: OpenedModel, tmp_path: Path) -> None:
    assert rnn.encode is not None
    encode = rnn.encode

    def bad(text: str) -> Encoded:
        return Encoded(encode(text).inputs, [*"the", "\ud800"] if text == "cat" else ["<eos>", text])

    samples = make_samples(["dog", "cat", "\ud800"[:0] + "bird"], bad)
    dump(rnn.traced, samples, tmp_path / "store", Settings("study"))
    assert rows(tmp_path / "store", "samples")["status"].to_pylist() == ["ok", "invalid", "ok"]


@pytest.mark.parametrize(
    ("value", "dtype", "shape"),
    [
        (True, torch.bool, ()),
        (3, torch.int64, ()),
        ([], torch.float64, (0,)),
        ([[1, 2.5]], torch.float64, (1, 2)),
        ([2**63 - 1, -(2**63)], torch.int64, (2,)),
        (np.array([200], np.uint8), torch.int64, (1,)),
        (np.array([[7]], np.uint64), torch.int64, (1, 1)),
        (np.array([1], ">i4"), torch.int64, (1,)),
        (np.array([1.5], ">f8"), torch.float64, (1,)),
        (np.ones((2, 3))[:, ::-1], torch.float64, (2, 3)),
    ],
)
def test_numbers_as_tensors(value: Any, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tensor = tensor_of_numbers(value)
    assert (tensor.dtype, tuple(tensor.shape)) == (dtype, shape)
    np.testing.assert_array_equal(tensor.numpy(), np.asarray(value).astype(tensor.numpy().dtype))


# Arrays


def npy(shape: tuple[int, ...], data: bytes = b"", descr: str = "<f4", header: str = "") -> bytes:
    """An .npy file that says it has this shape."""
    said = header or repr({"descr": descr, "fortran_order": False, "shape": shape})
    said = said.ljust(-(-len(said) // 64) * 64 + 53) + "\n"
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(said)) + said.encode("latin1") + data


def zipped(path: Path, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)


def says_more(path: Path) -> None:
    """A header that promises terabytes, and has four bytes."""
    zipped(path, x=npy((1, 10**13), b"1234"))


def says_more_than_can_be_counted(path: Path) -> None:
    zipped(path, x=npy((10**30, 10**30), b"1234"))


def says_less_than_nothing(path: Path) -> None:
    zipped(path, x=npy((-1, 4), b"1234"))


def has_a_long_header(path: Path) -> None:
    zipped(path, x=npy((), header="{" + " " * 200_000 + "}"))


def has_a_deep_header(path: Path) -> None:
    zipped(path, x=npy((), header="(" * 9_000))


def has_an_endless_header(path: Path) -> None:
    zipped(path, x=b"\x93NUMPY\x02\x00\xff\xff\xff\xff{")


def has_no_samples(path: Path) -> None:
    """10**15 of them, of no bytes."""
    zipped(path, x=npy((10**15, 0)))


def has_other_files(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", npy((1, 1), b"1234"))
        archive.writestr("../../evil", b"text")


def runs_code(path: Path) -> None:
    np.savez(path, x=np.array([{"a": print}], dtype=object))


def has_records(path: Path) -> None:
    np.savez(path, x=np.zeros(3, np.dtype([("a", "f4"), ("b", "i8")])))


def has_dates(path: Path) -> None:
    np.savez(path, x=np.array(["2026-01-01"], "datetime64[D]"))


def has_complex_numbers(path: Path) -> None:
    np.savez(path, x=np.ones((2, 2), complex))


def is_cut(path: Path) -> None:
    np.savez(path, x=np.ones((20, 20)))
    path.write_bytes(path.read_bytes()[:-30])


def has_a_flipped_byte(path: Path) -> None:
    np.savez(path, x=np.ones((20, 20)))
    data = bytearray(path.read_bytes())
    data[900] ^= 255
    path.write_bytes(data)


def is_encrypted(path: Path) -> None:
    zipped(path, x=npy((1, 1), b"1234"))
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)


def is_packed_strangely(path: Path) -> None:
    zipped(path, x=npy((1, 1), b"1234"))
    data = bytearray(path.read_bytes())
    data[8] = 99
    data[data.index(b"PK\x01\x02") + 10] = 99
    path.write_bytes(data)


def is_no_archive(path: Path) -> None:
    path.write_bytes(npy((1, 1), b"1234"))


ARRAYS = (
    *(says_more, says_more_than_can_be_counted, says_less_than_nothing, has_a_long_header, has_a_deep_header),
    *(has_an_endless_header, has_no_samples, has_other_files, runs_code, has_records, has_dates, has_complex_numbers),
    *(is_cut, has_a_flipped_byte, is_encrypted, is_packed_strangely, is_no_archive),
)


@pytest.mark.parametrize("make", ARRAYS)
def test_hostile_arrays(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "s.npz")
    with pytest.raises(SampleError, match=r"s\.npz") as caught:
        read_samples(tmp_path / "s.npz", None)
    assert "\n" not in str(caught.value)


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte of zeros, on a machine that has as much free: it would be copied."""
    np.savez_compressed(tmp_path / "s.npz", x=np.zeros((1, 1 << 20), np.uint8))
    assert (tmp_path / "s.npz").stat().st_size < 3000
    monkeypatch.setattr(reading_arrays, "available_memory", lambda: 1 << 20)
    monkeypatch.setattr(np, "load", None)
    with pytest.raises(SampleError, match=r"its arrays have 1,048,\d+ bytes, and of memory only 1,048,576 bytes are"):
        read_samples(tmp_path / "s.npz", None)


def test_the_command_says_it_in_one_line(models_file: Path, tmp_path: Path) -> None:
    says_more(tmp_path / "s.npz")
    for option in ((), ("--dry-run",)):
        ran = gradtrace("dump", f"{models_file}:rnn", "--samples", tmp_path / "s.npz", "--out", tmp_path / "o", *option)
        assert_one_line_error(ran, "s.npz cannot be read as .npz")
    assert not (tmp_path / "o").exists()
