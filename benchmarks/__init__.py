"""Latency, accuracy and parity at full size. Each prints a table and writes JSON."""
