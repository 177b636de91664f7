"""The modules that users load, one class per loading path."""
