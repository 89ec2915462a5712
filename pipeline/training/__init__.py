"""Training models of the zoo, and the runs that trainings leave on disk."""
