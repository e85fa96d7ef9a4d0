"""Python client and command line of Zentrigger. Speaks HTTP only; ZenML is needed for publishing and nothing else."""

from zentrigger_client.api import Client, Unreachable, ZentriggerError

__all__ = ["Client", "Unreachable", "ZentriggerError"]
