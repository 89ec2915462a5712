"""Recording: a forward and a backward pass on one sample, every value and every gradient kept, and compared with
torch.
"""
