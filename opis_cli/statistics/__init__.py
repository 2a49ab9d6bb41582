"""The uncertainty of scores on other classes: jackknife, bootstrap, intervals."""
