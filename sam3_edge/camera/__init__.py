"""Live cameras: capture, follow, show, record, for weeks. Start reading at `live`."""
