"""Reading lists: slices of pages, several at once and in the declared order, whatever their number.

A :class:`~singer_http.reading.pages.Slice` is one chain of pages, which a track follows from cursor to cursor and
ahead of them. The :class:`~singer_http.reading.reader.Reader` has many tracks under way through one session, and
hands their pages over. It knows pages and cursors; what records mean is the business of the streams.
"""
