"""Jobs that run elsewhere, as rows of the database."""
