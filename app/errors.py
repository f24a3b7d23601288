"""The errors of the gateway, and nothing about how a transport words them.

GatewayError
├── ConfigurationError            a setting that cannot work
├── InvalidRequest                a value a client sent that cannot be used
│   ├── InvalidPair               not a currency pair, or not one that is tracked
│   └── InvalidCursor             not of the form milliseconds-number
├── NoPrice                       a tracked pair that has had no price yet
├── NoData                        history or a figure that is not there (yet)
├── NotFound                      a thing with a name that nothing has
├── CursorExpired                 a cursor the log does not hold (any more)
├── LimitExceeded                 more than the gateway gives
│   ├── TooManyClients
│   ├── TooManyRequests           carries the seconds to wait
│   └── PayloadTooLarge
├── Unauthorized                  no token, or one that is not known
├── Forbidden                     a thing this gateway does not allow
├── NotReady                      the gateway has not caught up with the log yet
├── LogUnavailable                Redis does not answer
├── DatabaseUnavailable           the database does not answer
├── WorkersLost                   the processes that serve a port together do not stay alive
└── SourceError                   a price source that cannot deliver
    ├── NotOffered                a pair or length of bars that a source does not have
    └── SourceRefused             one that cannot deliver for good: the token or the account is wrong, a file damaged
"""


class GatewayError(Exception):
    """Any failure the gateway names itself. The text is meant for whoever asked."""


class ConfigurationError(GatewayError):
    """A setting that cannot work."""


class InvalidRequest(GatewayError):
    """A value a client sent that cannot be used."""


class InvalidPair(InvalidRequest):
    """Not a currency pair, or not one that this gateway tracks."""


class InvalidCursor(InvalidRequest):
    """A cursor that is not of the form ``milliseconds-number``."""


class NoPrice(GatewayError):
    """A tracked pair that has had no price yet."""


class NoData(GatewayError):
    """History, or a figure computed from it, that is not there (yet)."""


class NotFound(GatewayError):
    """A thing asked for by a name that nothing has."""


class CursorExpired(GatewayError):
    """A well-formed cursor that the log does not hold: trimmed away, lost, or never issued."""


class LimitExceeded(GatewayError):
    """More than the gateway gives."""


class TooManyClients(LimitExceeded):
    """Every place for a streaming client is taken."""


class TooManyRequests(LimitExceeded):
    """One client asked too often; ``retry_after`` is in seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PayloadTooLarge(LimitExceeded):
    """A body larger than the gateway reads."""


class Unauthorized(GatewayError):
    """No token, or one that is not known."""


class Forbidden(GatewayError):
    """A thing this gateway does not allow."""


class NotReady(GatewayError):
    """The gateway has not caught up with the log yet, or is about to stop."""


class LogUnavailable(GatewayError):
    """Redis does not answer, so the log can be neither read nor written."""


class DatabaseUnavailable(GatewayError):
    """The database does not answer."""


class WorkersLost(GatewayError):
    """The workers of a gateway do not stay alive."""


class SourceError(GatewayError):
    """A price source that cannot deliver what it was asked for."""


class NotOffered(SourceError):
    """A pair or length of bars that a source does not have, while it may have others."""


class SourceRefused(SourceError):
    """A price source that cannot deliver for good, as the token, the account or a file is bad: asking again would not help."""
