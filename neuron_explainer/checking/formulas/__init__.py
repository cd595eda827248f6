"""A second formula of everything that a pass computes, written out from the weights, and what is compared with it."""
