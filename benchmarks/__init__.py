"""Side-by-side measurements: what we claim, as ratios to a peer doing the same work in one run."""
