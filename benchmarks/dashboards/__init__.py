"""Dashboards of an autoencoder's latents: SAEDashboard and `ne.collate`, each in an environment of its own."""
