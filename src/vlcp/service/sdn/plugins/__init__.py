"""Drivers of physical network types; `autoload` loads every module in here."""
