"""What travels as JSON: bodies, parameters and replies of the API. The typed client imports these and nothing else."""
