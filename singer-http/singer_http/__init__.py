"""What Singer plugins over HTTP have in common."""
