"""What can go wrong on the way to a file, and back."""


class ExportError(RuntimeError):
    """A network could not be written as a file that does the same; the message has the figures."""


class ModelError(ValueError):
    """A file, an image or thresholds that cannot be used for prediction; the message says what to do."""
