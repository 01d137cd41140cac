"""What watchers were told while things broke, written down and held against the promises."""
