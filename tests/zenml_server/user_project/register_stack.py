"""Register the stack whose artifact store is a folder (first argument), and print the stack's id."""

import sys

from zenml.client import Client
from zenml.enums import StackComponentType

if __name__ == "__main__":
    client = Client()
    client.create_flavor("shared_store.SharedStoreFlavor", StackComponentType.ARTIFACT_STORE)
    store = client.create_stack_component(
        "shared", "shared", StackComponentType.ARTIFACT_STORE, {"path": f"shared://{sys.argv[1]}"}
    )
    stack = client.create_stack(
        "shared", {StackComponentType.ORCHESTRATOR: "default", StackComponentType.ARTIFACT_STORE: store.id}
    )
    sys.stdout.write(f"\n{stack.id}\n")
