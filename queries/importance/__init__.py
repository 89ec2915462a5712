"""Importance: what the paths of parameter groups count in components, per sample and over samples, with its
statistics.
"""
