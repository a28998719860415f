"""The Harkster API v1."""
