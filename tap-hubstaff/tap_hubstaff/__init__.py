"""Singer tap for the Hubstaff v2 API."""
