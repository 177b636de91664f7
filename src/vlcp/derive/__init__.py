"""Views, remembered calls and the dependency graph. Knows neither networks nor databases."""
