"""Rows as an HTML table, for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, tostring

from .cells import cell, escaped


def html_table(
    caption: str, names: Sequence[str], values: Sequence[Sequence[object]], notes: Sequence[str] = ()
) -> str:
    """A table of columns of values under a caption, and paragraphs of notes behind it."""
    table = Element("table")
    SubElement(table, "caption").text = escaped(caption)
    _row(SubElement(table, "thead"), "th", [escaped(name) for name in names])
    body = SubElement(table, "tbody")
    for row in zip(*values, strict=True):
        _row(body, "td", [cell(value) for value in row])
    found = [table]
    for note in notes:
        paragraph = Element("p")
        paragraph.text = escaped(note)
        found.append(paragraph)
    return "".join(tostring(element, encoding="unicode", method="html") for element in found)


def _row(parent: Element, tag: str, texts: Sequence[str]) -> None:
    row = SubElement(parent, "tr")
    for text in texts:
        SubElement(row, tag).text = text
