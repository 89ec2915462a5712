"""One file per question; `queries.database.library` reads them."""
