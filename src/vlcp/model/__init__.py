"""The network: its objects and keys, the kinds of physical networks, and what an API call changes. Pure."""
