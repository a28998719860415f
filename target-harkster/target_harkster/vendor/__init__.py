"""The Harkster API: its requests and its posts."""
