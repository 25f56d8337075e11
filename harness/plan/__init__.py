"""What a run will do: jobs, edges, cells; and the record of what was planned and submitted."""
