"""Positive products of floating-point numbers without rounding: a tie is a tie however its factors are split."""

from __future__ import annotations

import math
from typing import NamedTuple

_DIGITS = 64  # bits that decide a float


class Exact(NamedTuple):
    """mantissa * 2^exponent, the mantissa odd: two are equal exactly when their fields are."""

    mantissa: int
    exponent: int

    @classmethod
    def of(cls, number: float) -> Exact:
        """A positive finite number."""
        numerator, denominator = number.as_integer_ratio()
        zeros = (numerator & -numerator).bit_length() - 1
        return cls(numerator >> zeros, zeros - denominator.bit_length() + 1)

    def times(self, other: Exact) -> Exact:
        """The product of both."""
        return Exact(self.mantissa * other.mantissa, self.exponent + other.exponent)

    def exceeds(self, other: Exact) -> bool:
        """Whether this number is the larger one."""
        shift = self.exponent - other.exponent
        if shift >= 0:
            return self.mantissa << shift > other.mantissa
        return self.mantissa > other.mantissa << -shift

    def to_float(self) -> float:
        """The nearest float; inf or 0 where it is out of range."""
        surplus = max(0, self.mantissa.bit_length() - _DIGITS)
        kept = self.mantissa >> surplus | (surplus > 0)  # a last bit set stands for all that were cut
        try:
            return math.ldexp(kept, self.exponent + surplus)
        except OverflowError:
            return math.inf

    def log2(self) -> float:
        """The base-2 logarithm, which is never out of range."""
        surplus = max(0, self.mantissa.bit_length() - _DIGITS)
        return math.log2(self.mantissa >> surplus) + surplus + self.exponent


ONE = Exact(1, 0)
