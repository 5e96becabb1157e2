"""The steps of a birth after it was kept: one file a step, plus worker and retry."""
