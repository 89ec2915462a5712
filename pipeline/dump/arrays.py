"""Numbers as tensors: nested lists, arrays, and the arrays of an .npz file."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...exporters.models import SampleError
from ...exporters.onnx_graph.limits import available_memory
from ...queries.errors import first_line


def tensor_of_numbers(value: Any) -> Tensor:
    """A tensor of a nested list or an array; whole numbers as int64. ValueError or TypeError for what is none."""
    array = np.array(value)
    if array.dtype.kind not in "iufb":
        raise TypeError(f"{array.dtype} is not a number, or one beyond 64 bits")
    if array.dtype.kind == "u" and array.size and int(array.max()) >= 1 << 63:
        raise ValueError(f"{int(array.max())} is beyond the whole numbers of 64 bits with a sign")
    tensor = torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
    return tensor if tensor.is_floating_point() or tensor.dtype == torch.bool else tensor.to(torch.int64)


def read_arrays(path: Path) -> tuple[int, dict[str, Tensor]]:
    """The number of samples in an .npz file, and its arrays, whose first axes run over them.

    Raises SampleError when it cannot be read, when it does not fit in memory, and when the axes do not agree.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # no more bytes are unpacked than it says
            n_bytes = sum(info.file_size for info in archive.infolist())
        free = available_memory()
        if 2 * n_bytes > free:  # each is copied once
            raise MemoryError(f"its arrays have {n_bytes:,} bytes, and of memory only {free:,} bytes are free")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: tensor_of_numbers(file[name]) for name in file.files}
    except OSError as error:
        raise SampleError(f"{path} cannot be read as .npz: {error}") from error
    except Exception as error:  # zipfile, zlib and numpy have many kinds for what is damaged
        raise SampleError(f"{path} cannot be read as .npz: {first_line(error)}") from error
    return _number_of_samples(path, arrays), arrays


def _number_of_samples(path: Path, arrays: Mapping[str, Tensor]) -> int:
    counts = {len(array) if array.dim() else 0 for array in arrays.values()}
    if len(counts) != 1:
        raise SampleError(f"{path}: the arrays' first axes run over the samples and must agree, got {sorted(counts)}")
    count = counts.pop()
    if count and not any(array.numel() for array in arrays.values()):
        raise SampleError(f"{path}: every array has an axis of size 0, so that the samples are empty")
    return count
