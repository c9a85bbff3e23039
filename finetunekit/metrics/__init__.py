"""How good are predictions? Figures over a whole set, with their 95 % confidence intervals."""
