"""VLCP: an SDN controller for Open vSwitch."""
