"""Singer target for the Harkster v1 API."""
