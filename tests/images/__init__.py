"""The Dockerfiles, checked without a Docker engine."""
