"""A recording as rows of a graph store, and the store's files: written shard by shard, whole or not at all."""
