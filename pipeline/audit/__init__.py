"""What was kept, what was dropped, and why: figures and pictures from the tables alone."""
