"""Says why an endpoint could not be reached, in our own words: the library's may hold the URL, and the URL a key."""

import socket
import ssl

LOCKED_OUT = {401, 402, 403}


def of_error(error: BaseException) -> str:
    """Name what went wrong with a connection; what is the operator's to mend is said in full."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, socket.gaierror):
            return "its host name is not known; look at the URL, and at the name service (DNS)"
        # aiohttp has kinds of its own of the next two, which lack what these are made with: that is in their cause.
        if isinstance(seen, ssl.SSLCertVerificationError) and hasattr(seen, "verify_message"):
            return f"TLS: its certificate is not valid: {seen.verify_message}"
        if isinstance(seen, ssl.SSLError) and hasattr(seen, "reason"):
            return f"TLS: {seen.reason}; look whether the URL should begin with https or wss"
        if isinstance(seen, ConnectionRefusedError):
            return "connection refused: nothing listens there; look at the URL, and whether the node runs"
        if isinstance(seen, TimeoutError):
            return "no answer in time"
        seen = getattr(seen, "os_error", None) or seen.__cause__
    return type(error).__name__


def of_status(status: int) -> str:
    """Name what an HTTP status means that is no answer."""
    if status in LOCKED_OUT:
        return f"HTTP {status}: it does not let us in; look at the key in its URL"
    return f"HTTP {status}"
