"""The payloads of `events/`, as the tests feed them to the functions that they are named for."""

from collections.abc import Mapping

BEFORE: Mapping[str, tuple[str, ...]] = {
    "admin_post_secret": ("admin_put_triggers",),
    "trigger_post_hook": ("admin_put_triggers", "admin_post_secret"),
    "trigger_test_trigger": ("admin_put_trigger",),
}
"""What has to come before a sample, besides a published pipeline, so that it can be answered with more than 404."""

NAMES_NOTHING = frozenset({"admin_get_receipt", "status_get_run", "trigger_delete_run", "trigger_post_retry"})
"""Samples that name a run or a receipt, which no other sample makes."""
