"""One pass over the texts, on this machine or on Ray; its state is saved, so that a stopped run can go on."""
