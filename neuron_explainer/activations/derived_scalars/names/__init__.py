"""Names of nodes: `L23H3@14<-1` and what it stands for. No torch is imported here."""
