"""Between bytes and values, without input or output: OpenFlow, OVSDB, JSON-RPC and packets."""


class WireError(ValueError):
    """Bytes that are not what they should be, or a value that does not fit its field. The text says where."""
