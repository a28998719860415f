"""Compares tables in PostgreSQL with the report of the run that loaded them."""
