"""What looks into a forward pass: recordings and interventions."""
