"""`python -m pipeline COMMAND`: arguments to settings and calls."""
