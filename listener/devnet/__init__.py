"""The local network: anvil, an IntentSender and an aggregator, and the demo that runs the daemon against them."""
