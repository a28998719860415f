"""Windows of time: what is left to read, in which windows, and how long these should be. It knows no streams."""
