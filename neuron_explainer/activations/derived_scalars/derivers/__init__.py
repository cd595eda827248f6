"""The functions that compute the derived scalars, a module for each subject. To find one, search for its name here."""
