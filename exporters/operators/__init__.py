"""The primitive operators, one file per kind. Importing this package registers them."""

from . import contracts, copies, elementwise, reduces, special, without_gradient

__all__ = ["contracts", "copies", "elementwise", "reduces", "special", "without_gradient"]
