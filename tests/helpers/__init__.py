"""What several test files share: small models and files, servers that stop by themselves, readers of HTML."""
