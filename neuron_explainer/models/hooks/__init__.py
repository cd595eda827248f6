"""Recordings and interventions."""
