"""Learns from a dataset alone how the real surface of people differs from a body model, and predicts their depth."""
