"""`python -m sam3_edge` is `sam3-edge`."""

from sam3_edge.cli import main

if __name__ == "__main__":
    main()
