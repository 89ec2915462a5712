"""The commands of `gradtrace`, grouped by what they do."""
