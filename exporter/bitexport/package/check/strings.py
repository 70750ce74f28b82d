"""What the strings of a file give away: keys, and folders of the machine that built it."""

from __future__ import annotations

import re

from bitexport.package.check.findings import Findings

# The forms that their makers publish; text of a library that only names a form does not match.
SECRETS = {
    "a private key": rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s*[A-Za-z0-9+/=\r\n]{60}",
    "an access key of AWS": rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a key of Google's APIs": rb"\bAIza[0-9A-Za-z_-]{35}\b",
    "a token of GitHub": rb"\b(?:gh[pousr]_[0-9A-Za-z]{36}|github_pat_[0-9A-Za-z_]{82})\b",
    "a token of Hugging Face": rb"\bhf_[A-Za-z]{34}\b",
    "a token of Slack": rb"\bxox[abprs]-[0-9]{8,}-[0-9A-Za-z-]{16,}",
    "a token of npm": rb"\bnpm_[0-9A-Za-z]{36}\b",
}
PATH = re.compile(
    rb"(?:/(?:home|Users|root|builds|private/var|Volumes|data/jenkins)/|[A-Z]:[\\/]Users[\\/])"
    rb"[\w.@+-]+[\\/][\w.@+/\\-]+"
)
SHOWN = 8  # characters of a key


def check_strings(data: bytes, where: str, findings: Findings) -> None:
    """Look for keys and build paths in the bytes of a file."""
    for what, form in SECRETS.items():
        for found in set(re.findall(form, data)):
            shown = found[:SHOWN].decode("ascii", "replace")
            findings.add("secret", where, f"{what}: {shown}…, {len(found)} characters")
    paths = sorted(set(PATH.findall(data)))
    if paths:
        first = paths[0].decode("ascii", "replace")
        findings.add("build-path", where, f"{len(paths)} paths, as {first}")
