"""The functions that compute the derived scalars, one module a subject. To find one: grep its name here."""
