"""From the network to flows: registers, tables, rules, and the features that are made of them. Pure."""
