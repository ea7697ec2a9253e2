#pragma once

/// Does with Paho what `MQTTPahoTests` does with our client, at the server on `port` of this machine: connects with all there is to say, subscribes, publishes with
/// each QoS, unsubscribes, says goodbye. Returns 0, or what Paho failed with.
int paho_script(int port, int version);
