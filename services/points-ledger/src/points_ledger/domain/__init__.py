"""What is true of points, whatever they are stored in: standard library and refusals only."""
