"""What other implementations of SAM 3 answer: scripts that record it, and the recordings."""
