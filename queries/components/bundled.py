"""The files of components and parameter groups that come along, found by their names: `lstm_gates`."""

from __future__ import annotations

from pathlib import Path

from ..errors import StoreError, nearest

_FOLDER = Path(__file__).parents[2] / "data" / "components"  # in the repository and installed alike


def bundled_names() -> list[str]:
    """The names of the files that come along, in alphabetical order."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def find_file(given: str | Path) -> Path:
    """The file that is meant: one on disk, else the one of this name that comes along.

    What has a suffix or a folder is a path. Raises StoreError for a name that there is not.
    """
    path = Path(given)
    if path.is_file() or path.suffix or path.name != str(path) or not path.name:
        return path
    names = bundled_names()
    if path.name not in names:
        raise StoreError(
            f"there is no file {path.name!r}, and none of that name comes along.{nearest(path.name, names)} "
            f"There are {', '.join(names)}; docs/components.md says what is in them."
        )
    return _FOLDER / f"{path.name}.toml"
