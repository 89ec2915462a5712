"""Views, copies, picking and putting."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  its usual name

from ..trying import Case, Function


def _image(x: Tensor) -> Tensor:
    """1 x 4 x T x 2."""
    return x.unflatten(2, (4, 2)).transpose(1, 2)


_INDEX = torch.tensor([0, 2, 1, 2])


def _filled(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[:, 1:3] = x[:, :2]
    return y


_SHAPED: dict[str, Function] = {
    "torch.atleast_3d": lambda x: torch.atleast_3d(x[0]),
    "torch.block_diag": lambda x: torch.block_diag(x[0], x[0, :2]),
    "torch.broadcast_tensors": lambda x: torch.broadcast_tensors(x, x[:, :1])[1],
    "torch.broadcast_to": lambda x: torch.broadcast_to(x, (3, *x.shape)),
    "torch.cartesian_prod": lambda x: torch.cartesian_prod(x[0, 0], x[0, 1]),
    "torch.cat": lambda x: torch.cat([x, x.exp()], 1),
    "torch.channel_shuffle": lambda x: F.channel_shuffle(_image(x), 2),
    "torch.chunk": lambda x: torch.chunk(x, 3, 2)[1],
    "torch.clone": lambda x: torch.clone(x),
    "torch.column_stack": lambda x: torch.column_stack([x[0, :, 0], x[0, :, 1]]),
    "torch.combinations": lambda x: torch.combinations(x[0, 0], 2),
    "torch.diag": lambda x: torch.diag(x[0, 0]),
    "torch.diag_embed": torch.diag_embed,
    "torch.diagflat": lambda x: torch.diagflat(x[0, 0]),
    "torch.diagonal": lambda x: torch.diagonal(x, dim1=1, dim2=2),
    "torch.diagonal_scatter": lambda x: torch.diagonal_scatter(x[0, :3, :3].exp(), x[0, 0, :3]),
    "torch.dsplit": lambda x: torch.dsplit(x, 2)[1],
    "torch.dstack": lambda x: torch.dstack([x, x.exp()]),
    "torch.empty_like": lambda x: torch.empty_like(x).copy_(x),
    "torch.eye": lambda x: x @ torch.eye(8, dtype=x.dtype) * 2,
    "torch.eye (dynamic)": lambda x: torch.eye(x.shape[1], dtype=x.dtype) @ x,
    "torch.flatten": torch.flatten,
    "torch.flip": lambda x: torch.flip(x, (1, 2)),
    "torch.fliplr": torch.fliplr,
    "torch.flipud": torch.flipud,
    "torch.full": lambda x: x * torch.full((8,), 0.3, dtype=x.dtype),
    "torch.gather": lambda x: torch.gather(x, 2, _INDEX.expand(1, x.shape[1], 4)),
    "torch.hsplit": lambda x: torch.hsplit(x, [1])[1],
    "torch.hstack": lambda x: torch.hstack([x, x.exp()]),
    "torch.index_add": lambda x: torch.index_add(x, 2, _INDEX, x[..., :4].exp()),
    "torch.index_copy": lambda x: torch.index_copy(x, 2, _INDEX[:3], x[..., :3].exp()),
    "torch.index_fill": lambda x: torch.index_fill(x, 2, _INDEX, 0.3),
    "torch.index_put": lambda x: torch.index_put(x[0], (_INDEX[:3],), x[0, :3].exp()),
    "torch.index_put(accumulate)": lambda x: torch.index_put(x[0], (_INDEX,), x[0, :4].exp(), accumulate=True),
    "torch.index_reduce": lambda x: torch.index_reduce(x, 2, _INDEX, x[..., :4].exp(), "prod"),
    "torch.index_select": lambda x: torch.index_select(x, 2, _INDEX),
    "torch.kron": lambda x: torch.kron(x[0, :2, :2], x[0]),
    "torch.linspace": lambda x: x * torch.linspace(0.2, 0.9, 8, dtype=x.dtype),
    "torch.logspace": lambda x: x * torch.logspace(-1, 1, 8, dtype=x.dtype),
    "torch.arange": lambda x: x * torch.arange(x.shape[1], dtype=x.dtype)[:, None],
    "torch.masked_select": lambda x: torch.masked_select(x, x > 0.1),
    "torch.masked_scatter": lambda x: torch.masked_scatter(x, x > 0.1, x.exp()),
    "torch.meshgrid": lambda x: torch.meshgrid(x[0, 0], x[0, 1], indexing="ij")[1],
    "torch.moveaxis": lambda x: torch.moveaxis(x, 1, 2),
    "torch.movedim": lambda x: torch.movedim(x, 2, 0),
    "torch.narrow": lambda x: torch.narrow(x, 2, 1, 4),
    "torch.narrow_copy": lambda x: torch.narrow_copy(x, 2, 1, 4),
    "torch.nonzero": lambda x: x.flatten()[torch.nonzero(x.flatten() > 0)],
    "torch.ones_like": lambda x: x * torch.ones_like(x),
    "torch.permute": lambda x: torch.permute(x, (2, 0, 1)),
    "torch.pixel_shuffle": lambda x: F.pixel_shuffle(_image(x), 2),
    "torch.pixel_unshuffle": lambda x: F.pixel_unshuffle(_image(x), 2),
    "torch.ravel": torch.ravel,
    "torch.repeat_interleave": lambda x: torch.repeat_interleave(x, 2, 1),
    "torch.repeat_interleave(Tensor)": lambda x: torch.repeat_interleave(x, torch.tensor([1, 2, 0, 1, 1, 1, 1, 3]), 2),
    "torch.reshape": lambda x: torch.reshape(x, (-1, 4)),
    "torch.roll": lambda x: torch.roll(x, 2, 1),
    "torch.roll (two axes)": lambda x: torch.roll(x, (1, -3), (1, 2)),
    "torch.rot90": lambda x: torch.rot90(x[0]),
    "torch.row_stack": lambda x: torch.row_stack([x[0], x[0]]),
    "torch.scatter": lambda x: torch.scatter(x, 2, _INDEX[:3].expand(1, x.shape[1], 3), x.exp()[..., :3]),
    "torch.scatter_add": lambda x: torch.scatter_add(x, 2, _INDEX.expand(1, x.shape[1], 4), x.exp()[..., :4]),
    "torch.select": lambda x: torch.select(x, 1, 2),
    "torch.select_scatter": lambda x: torch.select_scatter(x, x[:, 0].exp(), 1, 1),
    "torch.slice_scatter": lambda x: torch.slice_scatter(x, x[..., :4].exp(), 2, 0, 8, 2),
    "torch.split": lambda x: torch.split(x, [3, 5], 2)[1],
    "torch.squeeze": lambda x: torch.squeeze(x),
    "torch.stack": lambda x: torch.stack([x, x.exp()], 1),
    "torch.swapaxes": lambda x: torch.swapaxes(x, 1, 2),
    "torch.t": lambda x: torch.t(x[0]),
    "torch.take": lambda x: torch.take(x, _INDEX),
    "torch.take_along_dim": lambda x: torch.take_along_dim(x, x.argsort(2), 2),
    "torch.tensor_split": lambda x: torch.tensor_split(x, 3, 2)[0],
    "torch.tile": lambda x: torch.tile(x, (1, 2)),
    "torch.transpose": lambda x: torch.transpose(x, 1, 2),
    "torch.tril": torch.tril,
    "torch.tril(diagonal)": lambda x: torch.tril(x, -1),
    "torch.triu": lambda x: torch.triu(x, 1),
    "torch.tril_indices": lambda x: x[0][tuple(torch.tril_indices(4, 4))],
    "torch.unbind": lambda x: torch.unbind(x, 2)[3],
    "torch.unflatten": lambda x: torch.unflatten(x, 2, (2, 4)),
    "torch.unfold_copy": lambda x: torch.unfold_copy(x, 2, 3, 2),
    "torch.unravel_index": lambda x: x[torch.unravel_index(torch.tensor([3, 9]), (1, 4, 8))],
    "torch.unsqueeze": lambda x: torch.unsqueeze(x, 1),
    "torch.vander": lambda x: torch.vander(x[0, 0], 3),
    "torch.view_as_real": lambda x: torch.view_as_real(torch.complex(x, x)),
    "torch.vsplit": lambda x: torch.vsplit(x[0], [1])[1],
    "torch.vstack": lambda x: torch.vstack([x[0], x[0]]),
    "torch.zeros_like": lambda x: torch.zeros_like(x) + x,
}

_METHODS: dict[str, Function] = {
    "Tensor.as_strided": lambda x: x[0, :4].clone().as_strided((3, 2), (2, 1)),
    "Tensor.contiguous": lambda x: x.mT.contiguous().view(1, -1),
    "Tensor.copy_": lambda x: torch.zeros_like(x).copy_(x),
    "Tensor.expand": lambda x: x.expand(3, -1, -1),
    "Tensor.expand_as": lambda x: x[:, :1].expand_as(x),
    "Tensor.fill_": lambda x: x * x.detach().clone().fill_(0.3),
    "Tensor.fill_diagonal_": lambda x: x[0].clone().fill_diagonal_(0.3),
    "Tensor.index_put_": _filled,
    "Tensor.masked_fill_": lambda x: x.clone().masked_fill_(x > 0.2, 1.5),
    "Tensor.new_zeros": lambda x: x + x.new_zeros(8),
    "Tensor.repeat": lambda x: x.repeat(2, 1, 3),
    "Tensor.scatter_": lambda x: x.clone().scatter_(1, torch.zeros(1, 1, 8, dtype=torch.int64), 0.3),
    "Tensor.scatter_reduce(amax)": lambda x: x.scatter_reduce(
        2, _INDEX.expand_as(x[..., :4]), x.exp()[..., :4], "amax"
    ),
    "Tensor.scatter_reduce(mean)": lambda x: x.scatter_reduce(
        2, _INDEX.expand_as(x[..., :4]), x.exp()[..., :4], "mean"
    ),
    "Tensor.scatter_reduce(prod)": lambda x: x.scatter_reduce(
        2, _INDEX.expand_as(x[..., :4]), x.exp()[..., :4], "prod"
    ),
    "Tensor.scatter_reduce(sum)": lambda x: x.scatter_reduce(2, _INDEX.expand_as(x[..., :4]), x.exp()[..., :4], "sum"),
    "Tensor.sum_to_size": lambda x: x.sum_to_size(1, 1, 8),
    "Tensor.unfold": lambda x: x.unfold(2, 3, 2),
    "Tensor.view": lambda x: x.view(1, -1),
    "Tensor.view_as": lambda x: x.view_as(x.exp()),
    "Tensor[::2]": lambda x: x[:, ::2, 1::3],
    "Tensor[..., None]": lambda x: x[..., None, :],
    "Tensor[-1]": lambda x: x[:, -1],
    "Tensor[integers]": lambda x: x[:, [0, 2, 2], [1, 1, 3]],
    "Tensor[mask]": lambda x: x[x > 0.1],
    "Tensor[mask] = number": lambda x: torch.where(x > 0.1, x, x).masked_fill(x > 1, 0.0),
}

_OTHER: dict[str, Function] = {
    "F.embedding": lambda x: F.embedding(_INDEX, x[0]),
    "F.embedding(max_norm)": lambda x: F.embedding(_INDEX, x[0].clone(), max_norm=1.0),
    "F.embedding(padding_idx)": lambda x: F.embedding(_INDEX, x[0], padding_idx=2),
    "F.embedding(scale_grad_by_freq)": lambda x: F.embedding(_INDEX, x[0], scale_grad_by_freq=True),
    "F.embedding_bag": lambda x: F.embedding_bag(_INDEX[None], x[0]),
    "F.embedding_bag(sum)": lambda x: F.embedding_bag(_INDEX, x[0], torch.tensor([0, 1]), mode="sum"),
    "F.embedding_bag(max)": lambda x: F.embedding_bag(_INDEX[None], x[0], mode="max"),
    "F.embedding_bag(per_sample_weights)": lambda x: F.embedding_bag(
        _INDEX[None], x[0], mode="sum", per_sample_weights=x[:, 0, :4]
    ),
    "F.one_hot": lambda x: x[..., :4] * F.one_hot(_INDEX, 4)[0],
    "F.one_hot (unknown classes)": lambda x: x[..., :3] * F.one_hot(_INDEX)[0],
    "F.pad": lambda x: F.pad(x, (1, 2, 0, 1), value=0.3),
    "F.pad(negative)": lambda x: F.pad(x, (-1, 2)),
    "F.pad(reflect)": lambda x: F.pad(x, (2, 1), mode="reflect"),
    "F.pad(replicate)": lambda x: F.pad(x, (2, 1), mode="replicate"),
    "F.pad(circular)": lambda x: F.pad(x, (2, 1), mode="circular"),
    "F.fold": lambda x: F.fold(x[:, :4].mT, (3, 3), (2, 2)),
    "F.unfold": lambda x: F.unfold(_image(x), 2),
}

CASES = {name: Case(f) for table in (_SHAPED, _METHODS, _OTHER) for name, f in table.items()}
