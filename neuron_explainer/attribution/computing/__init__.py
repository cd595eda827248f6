"""The numbers: one pass for a question, direct effects at the rows where it is asked, and what they leave over."""
