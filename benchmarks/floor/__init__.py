"""The least that could be done: bare servers and a bare database loop, each a process of its own.

A server prints the port that it listens on and ends when its standard input does.
"""
