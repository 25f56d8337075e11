"""Is this worth queueing? Checks on the login node, before anything is submitted."""
