"""The video loop on the host: detect, track, associate, remember. Start reading at `tracker`."""
