// Why the hub refuses. These words go into the broker's log and, as JSON, to the simulator, which shows them to users.
#ifndef HUB_REASONS_H
#define HUB_REASONS_H

// The device.
#define HUB_UNKNOWN_PRODUCT "unknown-product"
#define HUB_UNKNOWN_DEVICE "unknown-device"
#define HUB_DEVICE_DISABLED "device-disabled"

// The login text.
#define HUB_WRONG_PROTOCOL "wrong-protocol-level"
#define HUB_LONG_KEEP_ALIVE "keep-alive-too-long"
#define HUB_MALFORMED_USERNAME "malformed-username"
#define HUB_WRONG_CLIENT_ID "wrong-client-id"
#define HUB_EXPIRED "expired"
#define HUB_MISSING_PASSWORD "missing-password"
#define HUB_MALFORMED_PASSWORD "malformed-password"
#define HUB_BAD_SIGNATURE "bad-signature"
#define HUB_WRONG_CLOUD_PASSWORD "wrong-cloud-password"

// TLS.
#define HUB_WRONG_PSK_IDENTITY "wrong-psk-identity"
#define HUB_PSK_HANDSHAKE_FAILED "psk-handshake-failed"
#define HUB_CERTIFICATE_NEEDED "certificate-needed"
#define HUB_CERTIFICATE_NOT_ALLOWED "certificate-not-allowed"
#define HUB_WRONG_CERTIFICATE "wrong-certificate"

// Topics.
#define HUB_SUBSCRIBE_NOT_ALLOWED "subscribe-not-allowed"
#define HUB_PUBLISH_NOT_ALLOWED "publish-not-allowed"
#define HUB_PAYLOAD_TOO_LARGE "payload-too-large"

#endif
