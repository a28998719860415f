"""Every list of the API as a stream: how each kind is read, and, in a few lines each, what the vendor says of it."""
