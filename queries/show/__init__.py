"""Rows as people and programs read them. Knows no store."""
