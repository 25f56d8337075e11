"""Can this be trained as it is asked for: model, memory, disk, steps, software."""
