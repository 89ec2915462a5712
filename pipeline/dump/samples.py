"""Samples: the lines of a file, or inputs made in Python, each with its text and labels if it has any."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ...exporters.models import Encoded, SampleError
from ...queries.show.cells import escaped
from .arrays import read_arrays, tensor_of_numbers
from .lines import Line, parse_object, read_lines
from .models import user_code

# what a sample may say of itself beside its inputs; a tensor of such a name is an input
_RESERVED = ("text", "tokens", "first_token", "labels")

Inputs = Mapping[str, Any]
NO_LABELS: Mapping[str, str] = {}


@dataclass(frozen=True)
class Sample:
    """One sample: its text if it has one, how to make its inputs (which may raise SampleError), and its labels."""

    text: str | None
    encode: Callable[[], Encoded]
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Samples:
    """The samples of a file, in its order; `fingerprint` changes when any of them does."""

    source: str
    fingerprint: str
    samples: list[Sample]


def read_samples(
    path: Path, encode: Callable[[str], Encoded] | None, limit: int | None = None, shuffle: int | None = None
) -> Samples:
    """Read a .txt, .jsonl or .npz file of samples.

    .txt: one sample per line, for the model's encoder (source TAB target for pairs)
    .jsonl: one object per line, input name -> nested list with a batch axis of size 1; `text`, `tokens` and
        `first_token` (see Encoded) optional; or `text` alone, for the model's encoder. Either may have `labels`,
        name -> text, number or boolean
    .npz: input name -> array whose first axis runs over the samples
    shuffle: a seed; the samples are put in a random order, of which `limit` takes the first
    Raises SampleError when the file cannot be read; a line that is no sample raises it only when it is encoded.
    """
    if not path.is_file():
        raise SampleError(f"samples file {path} does not exist")
    if path.suffix == ".npz":
        samples = list(_from_arrays(path))
    elif path.suffix == ".jsonl":
        samples = [_from_object(path, i, line, encode) for i, line in enumerate(read_lines(path), start=1)]
    elif encode is None:
        raise SampleError(f"{path}: the model has no encoder for text; give its inputs as .jsonl or .npz")
    else:
        samples = [_from_line(path, i, line, encode) for i, line in enumerate(read_lines(path), start=1)]
    if not samples:
        raise SampleError(f"samples file {path} is empty")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:32]
    return _chosen(escaped(path.name), digest, samples, limit, shuffle)


def _chosen(source: str, digest: str, samples: list[Sample], limit: int | None, shuffle: int | None) -> Samples:
    order = range(len(samples)) if shuffle is None else _shuffled(len(samples), shuffle)
    chosen = [samples[i] for i in order[:limit]]
    seeded = "" if shuffle is None else f"-shuffled-{shuffle}"
    return Samples(source, f"{digest}-{len(chosen)}{seeded}", chosen)


def how_chosen(fingerprint: str) -> tuple[int, int | None]:
    """`limit` and `shuffle` that samples of this fingerprint were read with. SampleError for what is none."""
    found = re.fullmatch(r"[0-9a-f]+-(\d+)(?:-shuffled-(-?\d+))?", fingerprint, re.ASCII)
    if found is None:
        raise SampleError(f"{fingerprint!r} is no fingerprint of samples")
    return int(found[1]), None if found[2] is None else int(found[2])


def _shuffled(n: int, seed: int) -> Sequence[int]:
    """The numbers below n in an order that depends on the seed alone, on every machine and version."""
    return sorted(range(n), key=lambda i: hashlib.sha256(f"{seed} {i}".encode()).digest())


def _from_line(path: Path, number: int, line: Line, encode: Callable[[str], Encoded]) -> Sample:
    where = f"{path.name}:{number}"
    return _failing(f"{where} {line.fault}", line.text) if line.fault else _of_text(where, line.text, encode)


def _failing(reason: str, text: str | None = None) -> Sample:
    """A sample that is none."""

    def fail() -> Encoded:
        raise SampleError(reason)

    return Sample(text, fail)


def _of_text(where: str, text: str, encode: Callable[[str], Encoded], labels: Mapping[str, str] = NO_LABELS) -> Sample:
    def make() -> Encoded:
        if not text.strip():
            raise SampleError(f"{where} is empty; every line is one sample")
        return _encode_text(where, text, encode)

    return Sample(text, make, labels)


def _encode_text(where: str, text: str, encode: Callable[[str], Encoded]) -> Encoded:
    with user_code(f"{where}: the encoder failed", SampleError):
        encoded = encode(text)
    if not isinstance(encoded, Encoded) or not all(isinstance(x, Tensor) for x in encoded.inputs.values()):
        raise SampleError("the encoder returned something else than gradtrace.Encoded(inputs: dict of tensors)")
    return encoded


def _from_object(path: Path, number: int, line: Line, encode: Callable[[str], Encoded] | None) -> Sample:
    where = f"{path.name}:{number}"
    if line.fault:
        return _failing(f"{where} {line.fault}")
    try:
        values = parse_object(line.text)
        labels = _labels(where, values)
    except (ValueError, SampleError) as error:
        return _failing(str(error) if isinstance(error, SampleError) else _no_object(where, error))

    def make() -> Encoded:  # parsed again: the numbers of all lines together may be many
        return _encode_object(where, parse_object(line.text), encode)

    text = values.get("text")
    return Sample(text if isinstance(text, str) else None, make, labels)


def _no_object(where: str, error: Exception) -> str:
    return f"{where} is not an object of nested lists of numbers ({error})"


def _encode_object(where: str, values: dict[str, Any], encode: Callable[[str], Encoded] | None) -> Encoded:
    """The inputs of a line."""
    try:
        tensors = {name: tensor_of_numbers(value) for name, value in values.items() if name not in _RESERVED}
    except (ValueError, TypeError) as error:
        raise SampleError(_no_object(where, error)) from error
    if not tensors and "text" in values:
        return _encode_text_of(where, values, encode)
    tokens = values.get("tokens", [])
    if not isinstance(tokens, list):
        raise SampleError(f"{where}: 'tokens' is {json.dumps(tokens)}, a list of words is wanted")
    first_token = values.get("first_token", {})
    if not isinstance(first_token, dict):
        raise SampleError(
            f"{where}: 'first_token' is {json.dumps(first_token)}; input names with places in 'tokens' are wanted, as "
            'in {"source_ids": 0, "input_ids": 7}'
        )
    return Encoded(tensors, [str(token) for token in tokens], first_token)


def _encode_text_of(where: str, values: dict[str, Any], encode: Callable[[str], Encoded] | None) -> Encoded:
    """The inputs of a line that gives a text in place of them."""
    others = [name for name in values if name not in ("text", "labels")]
    if others:
        raise SampleError(f"{where}: {others[0]!r} is for lines that give inputs; of a text alone the encoder makes it")
    if encode is None:
        raise SampleError(f"{where}: the model has no encoder for text; give its inputs by name")
    if not isinstance(values["text"], str) or not values["text"].strip():
        raise SampleError(f"{where}: 'text' is {json.dumps(values['text'])}, a text is wanted")
    return _encode_text(where, values["text"], encode)


def _labels(where: str, values: Mapping[str, Any]) -> dict[str, str]:
    """The labels of a line as texts; a label that is null is none. SampleError for labels of another form."""
    given = values.get("labels", {})
    if not isinstance(given, dict) or not all(isinstance(x, str | int | float | None) for x in given.values()):
        raise SampleError(
            f"{where}: 'labels' is {json.dumps(given)}; names with texts, numbers or booleans are wanted, "
            'as in {"condition": "plural"}'
        )
    return {name: x if isinstance(x, str) else json.dumps(x) for name, x in given.items() if x is not None}


def _from_arrays(path: Path) -> Iterator[Sample]:
    count, arrays = read_arrays(path)
    for i in range(count):
        tensors = {name: array[i : i + 1] for name, array in arrays.items()}
        yield Sample(None, lambda tensors=tensors: Encoded(tensors))  # type: ignore[misc]


# Made in Python


def make_samples(
    given: Iterable[Inputs | Encoded | str],
    encode: Callable[[str], Encoded] | None,
    limit: int | None = None,
    shuffle: int | None = None,
) -> Samples:
    """Samples from Python: dicts from input name to tensor (or array, or nested list), Encoded ones, or texts.

    A dict may also have `text`, `tokens`, `first_token` and `labels`, as in a .jsonl file. Texts need `encode`.
    shuffle, limit: see `read_samples`
    Raises SampleError where there is none, and for what is no sample at all.
    """
    first = given if limit is None or shuffle is not None else islice(given, limit)
    samples = [_from_python(number, sample, encode) for number, sample in enumerate(first)]
    if not samples:
        raise SampleError("no samples were given; at least one is wanted")
    digest = hashlib.sha256()
    for sample in samples:
        _digest(digest, sample)
    return _chosen("python", digest.hexdigest()[:32], samples, limit, shuffle)


def _from_python(number: int, given: Inputs | Encoded | str, encode: Callable[[str], Encoded] | None) -> Sample:
    where = f"sample {number}"
    if isinstance(given, str):
        if encode is None:
            raise SampleError(f"{where} is a text, which needs an encoder: give encode, or the inputs themselves")
        return _of_text(where, _checked_text(where, given), encode)
    if isinstance(given, Encoded):
        return Sample(None, lambda: given)
    if not isinstance(given, Mapping):
        raise SampleError(
            f"{where} is of type {type(given).__name__}; a dict of tensors, a gradtrace.Encoded or a text is wanted"
        )
    try:
        return _of_inputs(where, given, encode)
    except SampleError as error:
        return _failing(str(error))


def _of_inputs(where: str, given: Inputs, encode: Callable[[str], Encoded] | None) -> Sample:
    """A dict: inputs, and what it says of itself beside them."""
    said = {name: given[name] for name in _RESERVED if name in given and _is_said(name, given[name])}
    inputs = {name: _tensor_of(where, name, x) for name, x in given.items() if name not in said}
    labels = _labels(where, {"labels": {name: _plain(x) for name, x in said.get("labels", {}).items()}})
    text = None if said.get("text") is None else _checked_text(where, said["text"])
    if text is not None and not inputs and encode is not None:
        return _of_text(where, text, encode, labels)
    tokens, first_token = said.get("tokens", []), said.get("first_token", {})
    if not isinstance(tokens, list | tuple) or not isinstance(first_token, Mapping):
        raise SampleError(
            f"{where}: 'tokens' is {tokens!r} and 'first_token' {first_token!r}; a list of words, and input names with "
            "places in it, are wanted"
        )
    words = [_checked_text(where, str(token)) for token in tokens]
    return Sample(text, lambda: Encoded(inputs, words, first_token), labels)


def _is_said(name: str, value: Any) -> bool:
    """Whether a reserved name says something of the sample: labels are a dict, and no array or tensor says anything."""
    return isinstance(value, Mapping) if name == "labels" else not isinstance(value, Tensor | np.ndarray)


def _plain(value: Any) -> Any:
    """A number of numpy as Python's."""
    return value.item() if isinstance(value, np.generic) else value


def _checked_text(where: str, text: Any) -> str:
    """SampleError for what is no text, or cannot be written as one."""
    try:
        if not isinstance(text, str):
            raise TypeError(f"it is of type {type(text).__name__}")
        text.encode()
    except (TypeError, UnicodeEncodeError) as error:
        raise SampleError(f"{where}: {text!r} is no text ({error})") from error
    return text


def _tensor_of(where: str, name: str, value: Any) -> Tensor:
    try:
        return value if isinstance(value, Tensor) else tensor_of_numbers(value)
    except (ValueError, TypeError) as error:
        raise SampleError(f"{where}: {name!r} is no tensor, array or nested list of numbers ({error})") from error


def _digest(digest: Any, sample: Sample) -> None:
    """Add a sample to a fingerprint; one that cannot be encoded is known by its text."""
    digest.update(repr((sample.text, sorted(sample.labels.items()))).encode())
    try:
        encoded = sample.encode()
    except SampleError:
        return
    digest.update(repr((encoded.tokens, sorted(encoded.first_token.items()))).encode())
    for name, tensor in sorted(encoded.inputs.items()):
        array = tensor.detach().cpu().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
