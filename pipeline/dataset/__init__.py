"""The dataset folder: units written whole or not at all, packed, verified, forgotten, described."""
