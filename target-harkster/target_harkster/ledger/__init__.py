"""The database that remembers: posts, rows of digests, rejects, lookups and runs.

``store`` is the way in and has the posts; ``digests``, ``rejects``, ``lookup_rows`` and ``history`` have a part each.
``model`` names the tables, ``database`` opens them, ``locks`` gives a channel to one run at a time, ``redaction`` says
what is not kept of rejects, and ``reject_file`` exports them. Uses no other room.
"""
