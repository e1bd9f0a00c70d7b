"""Loss calibration: what the next loss may plausibly be, and what is done, step by step, when it is not. Pure."""
