"""The verbs of the command line: `<name>.py` is `sam3-edge <name>`, imported when it is asked for."""
