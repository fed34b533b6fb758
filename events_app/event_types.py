"""The types of the events that the log, its consumers and webhooks leave in it."""

CONSUMER_CREATED = "consumer.created"
CONSUMER_DELETED = "consumer.deleted"
CONSUMER_RESET = "consumer.reset"
SUBSCRIPTION_CREATED = "subscription.created"
SUBSCRIPTION_ROTATED = "subscription.rotated"
SUBSCRIPTION_ENABLED = "subscription.enabled"
SUBSCRIPTION_DISABLED = "subscription.disabled"
SUBSCRIPTION_RESENT = "subscription.resent"
SUBSCRIPTION_RESET = "subscription.reset"
SUBSCRIPTION_DELETED = "subscription.deleted"
CONFIG_CHANGED = "system.config_changed"
STREAM_ENDED = "system.stream_ended"  # written to a stream, never to the log
