"""torch -> ONNX: the model exported with the names, shapes and orientation of the user's `state_dict`, recurrent layers
whole, Python numbers with all their digits, and what would change gradients refused.
"""
