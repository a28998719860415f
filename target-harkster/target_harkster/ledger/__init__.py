"""What was posted, what waits, and what was rejected, kept in a database."""
