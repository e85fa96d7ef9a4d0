"""Deployment to AWS: ``python -m deploy image|stack|publish|smoke|destroy --stage dev|prod``.

Each step can be repeated: what is there already is left as it is. docs/deploy.md tells the whole way.
"""
