#include <microhttpd.h>
#include <stdint.h>

struct cmhd_settings {
    int listener;  // a socket that listens; the server closes it
    unsigned connection_limit, timeout_seconds;
    const char *certificate, *key;  // PEM; NULL for no TLS
    void *context;                  // for both functions
};

/// MHD_start_daemon takes its options as variable arguments, which Swift cannot pass. Each connection has a thread, so that a
/// handler may wait.
static inline struct MHD_Daemon *cmhd_start(
    const struct cmhd_settings *settings, MHD_AccessHandlerCallback handle, MHD_RequestCompletedCallback completed) {
    unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_ITC;
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)settings->certificate},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)settings->key},
        {MHD_OPTION_END, 0, NULL},
    };
    struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
    if (settings->key) flags |= MHD_USE_TLS;
    return MHD_start_daemon(
        flags, 0, NULL, NULL, handle, settings->context, MHD_OPTION_LISTEN_SOCKET, (MHD_socket)settings->listener,
        MHD_OPTION_CONNECTION_LIMIT, settings->connection_limit, MHD_OPTION_CONNECTION_TIMEOUT,
        settings->timeout_seconds, MHD_OPTION_NOTIFY_COMPLETED, completed, settings->context, MHD_OPTION_ARRAY,
        settings->key ? tls : none, MHD_OPTION_END);
}

// Macros with casts do not reach Swift.
static inline ssize_t cmhd_end_of_body(void) { return MHD_CONTENT_READER_END_OF_STREAM; }
static inline ssize_t cmhd_broken_body(void) { return MHD_CONTENT_READER_END_WITH_ERROR; }
static inline uint64_t cmhd_unknown_size(void) { return MHD_SIZE_UNKNOWN; }

// Swift would have names of its own for these.
static inline enum MHD_Result cmhd_yes(void) { return MHD_YES; }
static inline enum MHD_Result cmhd_no(void) { return MHD_NO; }
static inline enum MHD_ValueKind cmhd_headers(void) { return MHD_HEADER_KIND; }
static inline enum MHD_ValueKind cmhd_arguments(void) { return MHD_GET_ARGUMENT_KIND; }
