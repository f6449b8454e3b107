"""Arrays as images of a series: what they say, and the graph that writes them."""
