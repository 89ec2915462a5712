"""The dump of a study: which model, which samples, recorded here or on several machines, estimated, and recorded
again.
"""
