"""Sends only the rows that changed: a database remembers what was sent, and STATE says how much of it arrived.

``changed_rows`` decides about rows. ``store`` is the database. Uses ``http`` alone, and is imported by those who ask.
"""
