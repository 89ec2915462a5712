"""Single paths of a stored sample: traces, the k best paths, statistics of all paths of a vertex."""
