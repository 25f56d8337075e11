"""Files of a run: their names, their formats, and writing them whole or not at all."""
