"""What two peers of the Handle System must agree on: names, values, messages, transports and the client."""
