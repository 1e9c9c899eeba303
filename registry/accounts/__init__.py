"""Who acts here: organisations, people, users, sessions, API keys, and what each of them may do."""
