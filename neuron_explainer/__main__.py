"""`python -m neuron_explainer` is the command `neuron-explainer`."""

from neuron_explainer.command_line.main import main

if __name__ == "__main__":
    main()
