"""The sections of a viewer's page: their controls, what they compute, and what they show."""
