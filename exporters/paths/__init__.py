"""From edges to paths: the best edges of every vertex, sums over all paths, soft traces. One sweep from the loss
backwards.
"""
