"""The Hubstaff v2 API, simulated from its documents."""
