"""The report of a run: what each list gave, how it ended, and which rows were sent."""
