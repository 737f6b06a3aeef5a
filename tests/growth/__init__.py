"""How reading, checking and changing a dataset grows with its number of units: `make growth`."""
