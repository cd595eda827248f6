"""The command `neuron-explainer` and its subcommands. Help and wrong arguments are answered without loading torch."""
