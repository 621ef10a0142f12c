"""Videos in, results out: frames from files, folders and pipes; lines, masks and overlays into one folder."""
