"""The same dataset from every engine: `make cluster`."""
