"""Engines that are built on the device: the ladder that keeps them right, and the cache that keeps them."""
