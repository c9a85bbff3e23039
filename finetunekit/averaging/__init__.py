"""What do averaged weights bring? Interpolation, soups, exponential moving averages."""
