"""A module beside the handler is imported as in any program."""


def count(text):
    return len(text.split())
