"""Every list of the API as a stream.

``list_streams``, ``window_streams`` and ``owned_streams`` declare the streams, in a few lines each. ``base``,
``named_base``, ``owned_base`` and ``window_base`` read them.
"""
