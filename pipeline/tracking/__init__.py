"""From frames to bodies: find people, follow them, fit one body model to each track."""
