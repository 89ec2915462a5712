"""Components and parameter groups that a user names: TOML files, slices and splits, resolved in a graph."""
