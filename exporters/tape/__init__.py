"""One sample's run of a graph as a list of primitive calls: values, the vertices they are, the tokens their axes run
over. The tape *is* the lowered graph. Further samples of the graph are replayed by the plan that it leaves.
"""
