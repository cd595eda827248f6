"""One pass over the texts: on this machine or on Ray, with saved state, so that a stopped run can go on."""
