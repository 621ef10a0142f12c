"""Compression: one scheme is one file, `as_<scheme>.py`; the rest is what all of them share."""
