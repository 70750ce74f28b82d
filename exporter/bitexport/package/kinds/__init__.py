"""Kinds of packages, one file each, with a `KIND`; the option of `package` is named as the file."""
