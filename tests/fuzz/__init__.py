"""Random calls of a real server, from nearly valid ones to noise."""
