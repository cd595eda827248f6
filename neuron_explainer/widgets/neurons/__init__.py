"""The parts of `ne.NeuronViewer`: where its records come from, what is chosen, its controls."""
