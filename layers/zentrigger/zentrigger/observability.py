"""The one logger of all functions: JSON lines, without events, keys or parameters in them."""

from aws_lambda_powertools import Logger

logger = Logger()
"""Named and levelled by POWERTOOLS_SERVICE_NAME and POWERTOOLS_LOG_LEVEL, which the template sets."""
