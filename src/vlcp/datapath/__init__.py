"""One switch: facts, what is desired, what is installed, the difference pushed, packets answered."""
