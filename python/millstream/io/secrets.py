"""What must not be shown: passwords, keys and signatures in addresses and in errors of libraries.

Owns how text is made fit to be shown. Must not know who shows it.
"""

from __future__ import annotations

import re


def without_secrets(text: str) -> str:
    """Blots out passwords, as addresses and connection strings have them."""
    text = _ADDRESS_PASSWORD.sub(r"\1***@", text)
    text = _SIGNATURE.sub(r"\1***", text)
    return _NAMED_SECRET.sub(r"\1***", text)


def without_user(address: str) -> str:
    """An address without the key and the secret that it may have before its host."""
    scheme, separator, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    if ":" in host and "@" not in host and "@" in path:
        # A secret with a "/" that should have been written as %2F.
        return without_secrets(f"{scheme}{separator}{rest.rpartition('@')[2]}")
    return without_secrets(f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}")


def is_secret(name: str) -> bool:
    """Tells whether what a part "name=…" of an address says is a secret."""
    return without_secrets(f"?{name}=x") != f"?{name}=x"


_ADDRESS_PASSWORD = re.compile(r"(\w+://[^\s:/@]*:)[^\s/]*@")
_NAMED_SECRET = re.compile(
    r"(\b\w*(?:password|passwd|pwd|passcode|passphrase|token|secret|credential|api_?key|"
    r"access_?key|private_?key|account_?key)\w*['\"]?\s*[=:]\s*)"
    r"(?:'[^']*'|\"[^\"]*\"|[^\s;,&)}]+)",
    re.IGNORECASE,
)
# Of addresses that are signed: of S3, Google, Azure, CloudFront, Alibaba.
_SIGNATURE = re.compile(
    r"([?&](?:x-\w+-(?:signature|credential|security-token)|sig|signature|key-pair-id|policy|"
    r"awsaccesskeyid|googleaccessid|ossaccesskeyid|key|auth)=)[^\s;,&)}'\"]+",
    re.IGNORECASE,
)
