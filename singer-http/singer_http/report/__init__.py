"""What a run says of itself in the end: what each list gave, how it ended, and which rows were sent."""
