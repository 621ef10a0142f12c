"""What the machine says of itself. Everything that it does not say is None, never a guess."""
