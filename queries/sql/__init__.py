"""One file per question; `queries.library` reads them."""
