"""What ends a deployment."""


class DeployError(Exception):
    """A step cannot go on; the text says what is wrong and what to do."""
