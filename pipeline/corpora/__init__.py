"""What models are trained on: text files, Python's documentation, this project's grammars; words and vocabularies."""
