"""The errors of the gateway. How a transport words them is not known here.

GatewayError
├── ConfigurationError            a setting that cannot work
├── InvalidRequest                a value in a request that cannot be used
│   ├── InvalidPair               not a currency pair, or not a tracked one
│   ├── UnknownParameter          a query parameter that the endpoint does not have
│   └── InvalidCursor             not of the form milliseconds-number
├── NoPrice                       a tracked pair without a price so far
├── NoData                        history, or a figure, that does not exist (yet)
├── NotFound                      an unknown name
├── NotAcceptable                 a form of an answer that this gateway cannot give
├── CursorExpired                 a cursor that the log does not hold (any more)
├── LimitExceeded                 a limit of the gateway
│   ├── TooManyClients
│   ├── TooManyRequests           with the seconds to wait
│   └── PayloadTooLarge
├── Unauthorized                  a missing or unknown token
├── Forbidden                     what this gateway does not allow
├── NotReady                      the gateway has not caught up with the log yet
├── LogUnavailable                Redis does not answer
├── DatabaseUnavailable           the database does not answer
├── WorkersLost                   the workers of a gateway keep dying
└── SourceError                   a price source that cannot deliver
    ├── NotOffered                a pair or length of bars that a source does not have
    └── SourceRefused             a source that cannot deliver for good: bad token or account, damaged file

The first sentence of a docstring may be sent to clients as the explanation of the error.
"""


class GatewayError(Exception):
    """Any failure that the gateway names itself. Its text is meant for the client or operator."""


class ConfigurationError(GatewayError):
    """A setting cannot work."""


class InvalidRequest(GatewayError):
    """A value a client sent that cannot be used."""


class InvalidPair(InvalidRequest):
    """Not a currency pair, or not one that this gateway tracks."""


class UnknownParameter(InvalidRequest):
    """The endpoint has no query parameter of this name."""


class InvalidCursor(InvalidRequest):
    """Not a cursor of the form ``milliseconds-number``."""


class NoPrice(GatewayError):
    """The pair is tracked, but has no price yet."""


class NoData(GatewayError):
    """The history, or a figure computed from it, is not available (yet)."""


class NotFound(GatewayError):
    """Nothing has this name."""


class NotAcceptable(GatewayError):
    """This gateway cannot answer in this form."""


class CursorExpired(GatewayError):
    """The cursor is well-formed, but the log does not hold it: trimmed away, lost, or never issued."""


class LimitExceeded(GatewayError):
    """A limit of the gateway is exceeded."""


class TooManyClients(LimitExceeded):
    """Every place for a streaming client is taken."""


class TooManyRequests(LimitExceeded):
    """The client has sent too many requests; ``retry_after`` is in seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PayloadTooLarge(LimitExceeded):
    """The body is larger than the gateway accepts."""


class Unauthorized(GatewayError):
    """The token is missing or unknown."""


class Forbidden(GatewayError):
    """This gateway does not allow the request."""


class NotReady(GatewayError):
    """The gateway has not caught up with the log yet, or is about to stop."""


class LogUnavailable(GatewayError):
    """Redis does not answer, so the log can be neither read nor written."""


class DatabaseUnavailable(GatewayError):
    """The database does not answer."""


class WorkersLost(GatewayError):
    """The workers of a gateway keep dying."""


class SourceError(GatewayError):
    """A price source cannot deliver what it was asked for."""


class NotOffered(SourceError):
    """The source does not have this pair or length of bars, though it may have others."""


class SourceRefused(SourceError):
    """The source cannot deliver for good: the token, the account or a file is bad, and retrying would not help."""
