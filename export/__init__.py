"""SAM 3 as graphs: the PyTorch model, checkpoints, lowering to each target, parity. Needs torch."""
