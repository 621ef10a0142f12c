"""Generated pictures and clips with known answers, for training, calibration, demos and tests."""
