"""What Singer taps and targets over HTTP have in common, in rooms; an inner one does not know the outer ones.

Innermost, ``http`` talks to an API. Around it, ``reading`` reads lists. The modules here are about being a Singer tap:
a plugin derives its tap and its streams from :mod:`~singer_http.tap` and :mod:`~singer_http.stream`, which share a
:mod:`~singer_http.run`, continue by :mod:`~singer_http.resume` and write through :mod:`~singer_http.output`. They use
``changes`` to leave out rows that did not change, and ``report`` to write the report that ``verify`` compares with.
"""
