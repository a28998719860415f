"""What is Harkster's own: its API, its posts and its types of fields.

``client`` sends the requests, ``posts`` writes and recognises posts, ``field_types`` is the table of what each type of
field takes, how that is written, and what becomes of a null; ``currencies`` lists the codes of ISO 4217.
Uses no other room.
"""
