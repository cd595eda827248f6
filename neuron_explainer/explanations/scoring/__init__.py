"""How good an explanation is: measures, their intervals, and the scorers."""
