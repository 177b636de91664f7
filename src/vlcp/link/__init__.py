"""Connections: addresses, reconnecting, and the OpenFlow and OVSDB sessions on top of them."""
