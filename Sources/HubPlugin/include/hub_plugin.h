// The hub's plugin for Mosquitto is loaded by the broker and has no interface for Swift: see plugin.c.
