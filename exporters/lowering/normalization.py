"""The normalizations. Roles: `mean`, `variance` (centring and spread) and `scale` (division, scale and bias).

    y = (x - mean(x)) / sqrt(mean((x - mean(x))^2) + epsilon) * scale + bias

The variance is that of the centred values: E[x^2] - E[x]^2 would lose its digits where the mean is large.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..models import ModelError
from ..operators.registry import composite
from ..tape.tape import Tape
from ..tape.values import Value


def _centred(tape: Tape, x: Value, axes: Sequence[int]) -> tuple[Value, Value]:
    with tape.labelled(role="mean"):
        mean = tape("ReduceMean", x, tape.integers(axes))
        return tape("Sub", x, mean), mean


def _root_mean_square(tape: Tape, x: Value, axes: Sequence[int], epsilon: float) -> Value:
    """sqrt(mean of x^2 + epsilon) along `axes`, dimensions kept."""
    with tape.labelled(role="variance"):
        spread = tape("ReduceMean", tape("Mul", x, x), tape.integers(axes))
        return tape("Sqrt", tape("Add", spread, tape.number(epsilon)))


def _standardized(tape: Tape, x: Value, axes: Sequence[int], epsilon: float) -> Value:
    """(x - mean) / sqrt(variance + epsilon) along `axes`."""
    centred, _ = _centred(tape, x, axes)
    deviation = _root_mean_square(tape, centred, axes, epsilon)
    with tape.labelled(role="scale"):
        return tape("Div", centred, deviation)


def _scaled(tape: Tape, x: Value, scale: Value | None, bias: Value | None) -> Value:
    with tape.labelled(role="scale"):
        y = x if scale is None else tape("Mul", x, scale)
        return y if bias is None else tape("Add", y, bias)


def _last_axes(x: Value, axis: int) -> list[int]:
    return list(range(axis % x.data.dim(), x.data.dim()))


def _per_channel(tape: Tape, x: Value, values: Value) -> Value:
    """C numbers as 1 x C x 1 x ..., to go with x : N x C x D1 x ..."""
    return tape("Reshape", values, tape.integers([1, -1] + [1] * (x.data.dim() - 2)))


@composite("LayerNormalization")
def layer_normalization(
    tape: Tape,
    x: Value,
    scale: Value | None = None,
    bias: Value | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> list[Value]:
    """Standardized over the axes from `axis` on; also the mean and 1 / deviation, for models that read them."""
    del stash_type  # the precision of the statistics: that of the recording
    axes = _last_axes(x, axis)
    centred, mean = _centred(tape, x, axes)
    deviation = _root_mean_square(tape, centred, axes, epsilon)
    with tape.labelled(role="scale"):
        normal = tape("Div", centred, deviation)
    outputs = [_scaled(tape, normal, scale, bias)]
    if tape.n_outputs > 1:
        outputs += [mean, tape("Reciprocal", deviation)]
    return outputs


@composite("RMSNormalization")
def rms_normalization(
    tape: Tape, x: Value, scale: Value | None = None, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Value:
    """x / sqrt(mean of x^2 + epsilon) * scale, over the axes from `axis` on."""
    del stash_type  # the precision of the statistics: that of the recording
    spread = _root_mean_square(tape, x, _last_axes(x, axis), epsilon)
    with tape.labelled(role="scale"):
        normal = tape("Div", x, spread)
    return _scaled(tape, normal, scale, None)


@composite("GroupNormalization")
def group_normalization(
    tape: Tape, x: Value, scale: Value, bias: Value, *, num_groups: int, epsilon: float = 1e-5, stash_type: int = 1
) -> Value:
    """N x C x D1 x ..., standardized within each group of channels.

    scale, bias: C numbers, or, before opset 21, one per group
    """
    del stash_type
    n, channels = x.shape[:2]
    if channels % num_groups:
        raise ModelError(f"operator GroupNormalization with {channels} channels in {num_groups} groups")
    grouped = tape("Reshape", x, tape.integers([n, num_groups, -1]))
    normal = tape("Reshape", _standardized(tape, grouped, [2], epsilon), tape.integers(x.shape))
    each = channels // scale.shape[0]
    if each > 1:
        scale, bias = (_repeated(tape, values, each) for values in (scale, bias))
    return _scaled(tape, normal, _per_channel(tape, x, scale), _per_channel(tape, x, bias))


def _repeated(tape: Tape, values: Value, times: int) -> Value:
    """G numbers, each `times` times in a row."""
    column = tape("Unsqueeze", values, tape.integers([1]))
    return tape("Reshape", tape("Expand", column, tape.integers([values.shape[0], times])), tape.integers([-1]))


@composite("InstanceNormalization")
def instance_normalization(tape: Tape, x: Value, scale: Value, bias: Value, *, epsilon: float = 1e-5) -> Value:
    """N x C x D1 x ..., each channel of each sample standardized."""
    normal = _standardized(tape, x, _last_axes(x, 2), epsilon)
    return _scaled(tape, normal, _per_channel(tape, x, scale), _per_channel(tape, x, bias))


@composite("BatchNormalization")
def batch_normalization(
    tape: Tape,
    x: Value,
    scale: Value,
    bias: Value,
    mean: Value,
    variance: Value,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Value:
    """N x C x D1 x ... with the stored statistics: each channel shifted and scaled."""
    del momentum  # only concerns training
    if training_mode:
        raise ModelError("operator BatchNormalization in training mode: call model.eval() before the export")
    with tape.labelled(role="mean"):
        centred = tape("Sub", x, _per_channel(tape, x, mean))
    with tape.labelled(role="variance"):
        deviation = tape("Sqrt", tape("Add", _per_channel(tape, x, variance), tape.number(epsilon)))
    with tape.labelled(role="scale"):
        normal = tape("Div", centred, deviation)
    return _scaled(tape, normal, _per_channel(tape, x, scale), _per_channel(tape, x, bias))


@composite("MeanVarianceNormalization")
def mean_variance_normalization(tape: Tape, x: Value, *, axes: Sequence[int] = (0, 2, 3)) -> Value:
    """(x - mean) / (deviation + 1e-9) along `axes`."""
    centred, _ = _centred(tape, x, axes)
    deviation = _root_mean_square(tape, centred, axes, 0.0)
    with tape.labelled(role="scale"):
        return tape("Div", centred, tape("Add", deviation, tape.number(1e-9)))


@composite("LpNormalization")
def lp_normalization(tape: Tape, x: Value, *, axis: int = -1, p: int = 2) -> Value:
    """x / its norm of order 1 or 2 along `axis`."""
    if p not in (1, 2):
        raise ModelError(f"operator LpNormalization with p={p}; ONNX defines 1 and 2")
    norm = tape("ReduceL1" if p == 1 else "ReduceL2", x, tape.integers([axis]))
    return tape("Div", x, norm)


@composite("SimplifiedLayerNormalization")
def simplified_layer_normalization(
    tape: Tape, x: Value, scale: Value, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Value:
    """onnxruntime's name of RMSNormalization."""
    return rms_normalization(tape, x, scale, axis=axis, epsilon=epsilon, stash_type=stash_type)
