"""The wheel, built and installed in an environment of its own."""
