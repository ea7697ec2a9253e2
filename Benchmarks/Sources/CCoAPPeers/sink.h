#pragma once
#include <stddef.h>
#include <stdint.h>

enum { COAP_SINK_DATAGRAM = 1280 };

/// The answer of the servers that keep nothing; 0 bytes if there is none.
size_t coap_sink_answer(const uint8_t *in, size_t in_count, uint8_t *out);
