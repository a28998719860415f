"""What a run tells: the plan of a dry run, the summary, the preview page."""
