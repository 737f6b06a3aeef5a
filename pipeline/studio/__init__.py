"""Moving, clothed, textured people of whom everything is known: clips to test and train on, with exact truth."""
