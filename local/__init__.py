"""The embedded AWS: deploys a SAM template on this machine, without an AWS account and without Docker."""
