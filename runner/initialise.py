"""`python -m runner.initialise`: makes the SQLite store of ZENML_LOCAL_STORES_PATH, once, when an image is built.

Several processes on an initialised store are fine; on one that is not, they get in each other's way.
Only the stores are worth copying: ZenML's configuration holds the absolute path of the database it was made for.
"""

from zenml.client import Client

if __name__ == "__main__":
    Client().active_stack  # noqa: B018 - makes tables, user, project and stack, whatever is missing
