"""All tests: one thread per operator, for small models are slower with two."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
