"""How far scores may be off on other classes: jackknife, bootstrap, intervals."""
