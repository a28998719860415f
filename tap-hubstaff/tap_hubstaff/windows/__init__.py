"""Windows of time: what has to be read, by which windows, and how long these had best be. It knows no streams."""
