"""Work sessions, with exact start and stop, built from activities."""
