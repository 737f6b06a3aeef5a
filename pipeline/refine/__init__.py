"""Bodies that agree between frames: corrections of a track that make its surface show the same picture."""
