"""The edges of a recording, slot by slot: described, ordered, made in blocks, and their sums held against the
gradients.
"""
