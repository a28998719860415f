"""Talking HTTP to an API: from "read this" to its parsed answer, or to an error that says what to do.

A plugin opens a :class:`~singer_http.http.session.Session` on a transport (connections, timeouts), a token source
(auth) and a budget (the vendor's limit), all on one clock. The tables in ``rules`` say what is done about a fault;
``retries`` says how often and how long. Nothing here knows of lists or of Singer.
"""
