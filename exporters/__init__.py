"""From a torch model to its gradient graph: export, lowering, recording, edges, Parquet."""

from .models import Encoded, ModelError, SampleError, Traceable

__all__ = ["Encoded", "ModelError", "SampleError", "Traceable"]
