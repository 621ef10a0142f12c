"""Backends that run a bundle, one file each: `on_<target>.py`. Never torch."""
