"""How long a bundle takes on this machine: what is timed, how, and what may be said of it."""
