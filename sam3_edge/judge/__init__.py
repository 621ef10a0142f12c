"""The one evaluator: every gate, table and release is decided by the numbers computed here."""
