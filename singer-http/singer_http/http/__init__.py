"""Talking to an API: errors and what is done about them, one request, a session, tokens, the budget, time."""
