"""MODEL `hf:PATH`: a causal, masked or sequence-to-sequence language model of transformers, and its tokenizer, on disk.

Nothing of the folder is ever executed, and no number of the model is made up: what its files lack is refused. The
parameters keep the names that transformers gives them. The loss is computed here from the logits:

causal      a line of text: the mean cross-entropy of every token given those before it
masked      text with masks, TAB, the words behind them: the mean cross-entropy at the masks. Without a mask: that of
            every token but the special ones, of a text of which nothing is hidden
sequences   source TAB target: the mean cross-entropy of every target token given those before it and the source
"""
