"""The one error of the data room."""


class DataError(ValueError):
    """A data set is missing, damaged or mislabelled, or cannot be split as asked; the message says what to do."""
