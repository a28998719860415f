"""From a row to what its post shows: which column becomes which field, and by which expression.

``layout_maker`` finds the layout of a stream: from its settings, a template (``inference``) or its SCHEMA
(``schemas``). ``layout`` fills it with a row or a group, ``field`` one field of it; ``expressions`` compiles what is
calculated, by the rules of ``arithmetic``, ``locale_filters`` and ``lookup_filter``, within ``cost_limit``. Uses the
rooms ``vendor`` and ``ledger``.
"""
