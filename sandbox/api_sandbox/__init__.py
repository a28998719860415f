"""The vendors APIs on loopback."""
