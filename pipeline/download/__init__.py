"""Videos from the web, on an explicit command only: into a folder that `run` can read, with a record of each."""
