"""Programs that people run on a replicated directory, and what they tell of their work."""
