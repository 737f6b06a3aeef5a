"""The method: a segment of film in, rows of every table out. No framework, no files of a dataset."""
