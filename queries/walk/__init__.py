"""Paths over plain arrays: traced edges followed, k best paths searched. No store, no DuckDB; the dump walks here as
well.
"""
