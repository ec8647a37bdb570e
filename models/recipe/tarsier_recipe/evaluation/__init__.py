"""Numbers of the shipped binary, of exports, and of weights in floats."""
