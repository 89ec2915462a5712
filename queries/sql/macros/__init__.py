"""The macros that every store offers in SQL, one file each: `create macro`, under a header that says its contract."""
