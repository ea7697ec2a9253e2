#include "coap_peers.h"
#include <arpa/inet.h>
#include <coap3/coap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int finished;
static long received_bytes;

static coap_response_t on_response(coap_session_t *session, const coap_pdu_t *sent, const coap_pdu_t *received, const coap_mid_t id) {
    (void)session; (void)sent; (void)id;
    size_t count, offset, total;
    const uint8_t *bytes;
    if (coap_pdu_get_code(received) >> 5 != 2) {
        fprintf(stderr, "libcoap got an error\n");
        exit(1);
    }
    if (!coap_get_data_large(received, &count, &bytes, &offset, &total)) count = 0;
    received_bytes += (long)count;
    finished++;
    return COAP_RESPONSE_OK;
}

static void on_nack(coap_session_t *session, const coap_pdu_t *sent, const coap_nack_reason_t reason, const coap_mid_t id) {
    (void)session; (void)sent; (void)id;
    fprintf(stderr, "libcoap got no answer: %d\n", (int)reason);
    exit(1);
}

static coap_pdu_t *request(coap_session_t *session, coap_pdu_type_t type, coap_pdu_code_t code, const char *name) {
    coap_pdu_t *pdu = coap_new_pdu(type, code, session);
    uint8_t token[8];
    size_t count;
    coap_session_new_token(session, &count, token);
    coap_add_token(pdu, count, token);
    coap_add_option(pdu, COAP_OPTION_URI_PATH, 5, (const uint8_t *)"bench");
    coap_add_option(pdu, COAP_OPTION_URI_PATH, strlen(name), (const uint8_t *)name);
    return pdu;
}

static void send_request(coap_session_t *session, coap_pdu_t *pdu) {
    if (coap_send(session, pdu) == COAP_INVALID_MID) {
        fprintf(stderr, "libcoap cannot send\n");
        exit(1);
    }
}

static void small(struct coap_job *job, coap_context_t *context, coap_session_t *session, coap_pdu_type_t type) {
    coap_job_begin(job);
    for (int sent = 0; finished < job->count;) {
        for (; sent < job->count && sent - finished < job->inflight; sent++) {
            send_request(session, request(session, type, COAP_REQUEST_CODE_GET, "small"));
        }
        coap_io_process(context, 1000);
    }
    coap_job_end(job);
}

static void large(struct coap_job *job, coap_context_t *context, coap_session_t *session, int is_up) {
    static uint8_t body[COAP_LARGE];
    coap_job_begin(job);
    for (int sent = 0; sent < job->count; sent++) {
        coap_pdu_t *pdu = request(session, COAP_MESSAGE_CON, is_up ? COAP_REQUEST_CODE_PUT : COAP_REQUEST_CODE_GET, "large");
        if (is_up) coap_add_data_large_request(session, pdu, sizeof body, body, NULL, NULL);
        send_request(session, pdu);
        while (finished <= sent) coap_io_process(context, 1000);
    }
    coap_job_end(job);
    if (!is_up && received_bytes != (long)job->count * COAP_LARGE) {
        fprintf(stderr, "libcoap got %ld bytes\n", received_bytes);
        exit(1);
    }
}

static void memory(struct coap_job *job, coap_context_t *context, coap_session_t *session) {
    // What is allocated once is there after the first.
    send_request(session, request(session, COAP_MESSAGE_CON, COAP_REQUEST_CODE_GET, "small"));
    while (!finished) coap_io_process(context, 1000);
    double before = coap_heap_bytes();
    coap_job_begin(job);
    for (int sent = 0; sent < job->count; sent++) {
        send_request(session, request(session, COAP_MESSAGE_CON, COAP_REQUEST_CODE_GET, "silent"));
    }
    coap_io_process(context, 200);
    coap_job_end(job);
    job->bytes_per_request = (coap_heap_bytes() - before) / job->count;
}

static coap_session_t *connected(struct coap_job *job, coap_context_t *context, const coap_address_t *address) {
    if (!job->is_secure) return coap_new_client_session(context, NULL, address, COAP_PROTO_UDP);
    coap_dtls_cpsk_t keys = {.version = COAP_DTLS_CPSK_SETUP_VERSION};
    keys.psk_info.identity = (coap_bin_const_t){strlen(COAP_PSK_IDENTITY), (const uint8_t *)COAP_PSK_IDENTITY};
    keys.psk_info.key = (coap_bin_const_t){strlen(COAP_PSK_KEY), (const uint8_t *)COAP_PSK_KEY};
    return coap_new_client_session_psk2(context, NULL, address, COAP_PROTO_DTLS, &keys);
}

/// A handshake, a GET and the end, one after the other. The first is not counted.
static void sessions(struct coap_job *job, coap_context_t *context, const coap_address_t *address) {
    for (int done = 0; done <= job->count; done++) {
        if (done == 1) coap_job_begin(job);
        coap_session_t *session = connected(job, context, address);
        if (!session) exit(1);
        send_request(session, request(session, COAP_MESSAGE_CON, COAP_REQUEST_CODE_GET, "small"));
        while (finished <= done) coap_io_process(context, 1000);
        coap_session_release(session);
    }
    coap_job_end(job);
}

int coap_libcoap(struct coap_job *job) {
    coap_startup();
    coap_set_log_level(LOG_ERR);
    coap_context_t *context = coap_new_context(NULL);
    int is_memory = !strcmp(job->mode, "memory");
    // Only where bodies have blocks, as it costs the small ones something; a session takes it from its context when it is made.
    if (!strcmp(job->mode, "down") || !strcmp(job->mode, "up")) {
        coap_context_set_block_mode(context, COAP_BLOCK_USE_LIBCOAP | COAP_BLOCK_SINGLE_BODY);
    }
    coap_address_t address;
    coap_address_init(&address);
    address.size = sizeof address.addr.sin;
    address.addr.sin.sin_family = AF_INET;
    address.addr.sin.sin_port = htons((uint16_t)job->port);
    inet_pton(AF_INET, job->host, &address.addr.sin.sin_addr);
    coap_register_response_handler(context, on_response);
    coap_register_nack_handler(context, on_nack);
    if (!strcmp(job->mode, "session")) {
        sessions(job, context, &address);
        return 0;
    }
    coap_session_t *session = connected(job, context, &address);
    if (!session) return -1;
    // NSTART, or else the others wait.
    coap_session_set_nstart(session, (uint16_t)(is_memory ? job->count : job->inflight));
    if (job->is_secure) {
        send_request(session, request(session, COAP_MESSAGE_CON, COAP_REQUEST_CODE_GET, "small"));
        while (!finished) coap_io_process(context, 1000);
        finished = 0;
        received_bytes = 0;
    }
    if (!strcmp(job->mode, "con")) small(job, context, session, COAP_MESSAGE_CON);
    else if (!strcmp(job->mode, "non")) small(job, context, session, COAP_MESSAGE_NON);
    else if (!strcmp(job->mode, "down")) large(job, context, session, 0);
    else if (!strcmp(job->mode, "up")) large(job, context, session, 1);
    else if (is_memory) memory(job, context, session);
    else return -1;
    return 0;
}
