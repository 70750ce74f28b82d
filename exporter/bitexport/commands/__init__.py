"""One file per command, named as it is typed, each with a click command called `command`."""
