"""What both daemons need to run: settings, logs, admin listener, listeners, life cycle, day counters."""
