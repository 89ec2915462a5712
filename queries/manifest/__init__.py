"""A store's manifest: what it says and may say, the files it lists, and whether these are what was written."""

from .fields import SOURCE
from .files import StoredFiles, check_files, check_sums, file_sum, listed_file
from .format_2 import read_format_2
from .manifest import (
    FORMAT_VERSION,
    MANIFEST,
    MODEL,
    ListedFile,
    Manifest,
    Shard,
    StoredFile,
    check_name,
    read_manifest,
    replace_file,
    sealed,
    write_manifest,
)

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST",
    "MODEL",
    "SOURCE",
    "ListedFile",
    "Manifest",
    "Shard",
    "StoredFile",
    "StoredFiles",
    "check_files",
    "check_name",
    "check_sums",
    "file_sum",
    "listed_file",
    "read_format_2",
    "read_manifest",
    "replace_file",
    "sealed",
    "write_manifest",
]
