"""Compression schemes, one file each: `as_<scheme>.py`."""
