"""Carrying the method out: the Beam graph, its workers, progress, costs and how a run ends early."""
