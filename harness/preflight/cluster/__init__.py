"""Does the machine or cluster have what jobs ask for."""
