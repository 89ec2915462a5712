"""A model with the numbers of its folder, all of them and no others: transformers draws at random what it misses."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ....exporters.models import ModelError
from ....queries.errors import first_line

_SHOWN = 3  # names in an error


def load_model(path: Path, architecture: str) -> Any:
    """The model in `path`, of a class of transformers, in float32 and eval mode.

    Raises ModelError unless the files hold every tensor of the model in its shape, and none that its layers lack.
    """
    import transformers

    with no_talk():
        try:
            model, found = getattr(transformers, architecture).from_pretrained(
                path,
                local_files_only=True,
                trust_remote_code=False,
                attn_implementation="eager",
                experts_implementation="batched_mm",  # the others loop over what the router chose
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # named below, in one line
                output_loading_info=True,
            )
        except Exception as error:  # transformers, safetensors, torch and pickle raise types of their own
            raise ModelError(f"{path} cannot be loaded by transformers: {_reason(error)}") from error
    check_complete(path, model, set(found["missing_keys"]), set(found["unexpected_keys"]))
    for name, stored, wanted in sorted(found["mismatched_keys"])[:1]:
        raise ModelError(
            f"{path} is not what its config.json says: {name} is {_shape(stored)}, and {_shape(wanted)} is wanted"
            f"{_others(len(found['mismatched_keys']) - 1)}. Mend config.json, or save the model again."
        )
    _let_torch_derive(model)
    return model.eval()


def _let_torch_derive(model: Any) -> None:
    """BLOOM's activation has the derivative of its formula written out, to ten digits; torch finds the same itself."""
    from transformers.models.bloom import modeling_bloom as bloom

    for module in model.modules():
        if isinstance(module, bloom.BloomGelu):
            vars(module)["forward"] = bloom.bloom_gelu_forward


def check_complete(path: Path, model: nn.Module, missing: set[str], unexpected: set[str]) -> None:
    """Refuse a folder whose files lack tensors of the model, or have some for layers that the model has not."""
    prefix = _common_prefix(missing, unexpected)
    if prefix:
        raise ModelError(
            f"the names of the tensors in {path} begin with {prefix!r}, as DataParallel and torch.compile "
            f"leave them, so that {_named(missing)} are not found. Save the module inside "
            f"(model.module.save_pretrained), or its state_dict with names without {prefix!r}."
        )
    if missing:
        raise ModelError(
            f"{path} lacks {_named(missing)}, which transformers would draw at random. Save the whole model with "
            "save_pretrained, or name its class in the config.json."
        )
    foreign = {name for name in unexpected if _belongs_inside(model, name)}
    if foreign:
        raise ModelError(
            f"{path} has {_named(foreign)}, for which its config.json leaves no place: the model would be another one. "
            "Mend config.json, or save the model again."
        )


def _common_prefix(missing: set[str], unexpected: set[str]) -> str:
    """What stands before the names of most missing tensors in the files, with a point at its end; '' for no such.

    Not of all: the names of tied tensors are missing too, and never in the files.
    """
    before = Counter(
        ".".join(parts[:n]) + "."
        for parts in (name.split(".") for name in unexpected)
        for n in range(1, len(parts))
        if ".".join(parts[n:]) in missing
    )
    prefix, count = max(before.items(), key=itemgetter(1), default=("", 0))
    return prefix if 2 * count > len(missing) else ""


def _belongs_inside(model: nn.Module, name: str) -> bool:
    """Whether a tensor's place is within a list of layers, or in a module that has tensors and no parts.

    Elsewhere it is of a part that this class of model leaves out, such as BERT's pooler.
    """
    module: nn.Module = model
    for part in name.split(".")[:-1]:
        if isinstance(module, nn.ModuleList):
            return True
        child = getattr(module, part, None)
        if not isinstance(child, nn.Module):
            return False
        module = child
    return not any(True for _ in module.children())


def _named(names: Collection[str]) -> str:
    shown = sorted(names)[:_SHOWN]
    count = f"{len(names)} tensors" if len(names) > 1 else "the tensor"
    return f"{count} ({', '.join(shown)}{', …' if len(names) > len(shown) else ''})"


def _others(number: int) -> str:
    return f" (and {number} more tensors)" if number else ""


def _shape(shape: Any) -> str:
    return "x".join(map(str, shape)) or "a scalar"


def _reason(error: BaseException) -> str:
    """One line of an error, without advice to switch off a safeguard."""
    return f"{type(error).__name__}: {first_line(error)}"


@contextmanager
def no_talk() -> Iterator[None]:
    """transformers and peft report their progress and their doubts; what matters of them is raised here."""
    import transformers

    logging: Any = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
