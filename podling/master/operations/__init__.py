"""What a request means, without HTTP."""
