"""Reading lists: pages and their cursors, predictions, and the parallel reader that keeps their order."""
