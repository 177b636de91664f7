"""What is wrong with a request. `status` is the HTTP status that tells a caller so."""

from __future__ import annotations


class ModelError(Exception):
    """The base: a request that cannot be carried out, with a text for the user."""

    status = 400


class InvalidError(ModelError):
    """A value is malformed or impossible. The text names the field, the value and what is allowed."""

    status = 400


class MissingError(ModelError):
    """Something that the request names does not exist."""

    status = 404


class InUseError(ModelError):
    """The request contradicts what exists: a taken id or address, or an object that others still use."""

    status = 409
