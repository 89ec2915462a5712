"""A store opened for reading in DuckDB: its views and macros, its graphs, its library of queries, its names."""
