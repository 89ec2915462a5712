"""What users run: command line, training, the dump of a study."""
