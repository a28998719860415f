"""Which properties of a record become which fields of a post."""
