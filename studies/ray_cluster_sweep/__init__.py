"""A sweep on one machine or on a cluster, with the gate."""
