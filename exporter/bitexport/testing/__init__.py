"""A bundle in somebody's own tests: pytest fixtures and marks for what runs on the device."""
