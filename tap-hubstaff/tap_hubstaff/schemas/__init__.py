"""JSON schemas of the streams, one file a stream: every property of the official specification."""
