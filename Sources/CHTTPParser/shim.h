#include <http_parser.h>
#include <stddef.h>
#include <string.h>

/// The head of one response, as far as it has come: what http-parser tells piece by piece, put together.
struct chttp_head {
    http_parser parser;
    /// Names and values one after another, each with a zero byte behind it; what does not fit is an error.
    char fields[8192];
    size_t count;
    int is_value;
    int is_complete;
};

static inline int chttp_put(struct chttp_head *head, const char *bytes, size_t count) {
    if (head->count + count + 2 > sizeof head->fields) return 1;
    memcpy(head->fields + head->count, bytes, count);
    head->count += count;
    return 0;
}

static inline int chttp_on_field(http_parser *parser, const char *bytes, size_t count) {
    struct chttp_head *head = (struct chttp_head *)parser->data;
    if (head->is_value) {
        head->fields[head->count++] = 0;
        head->is_value = 0;
    }
    return chttp_put(head, bytes, count);
}

static inline int chttp_on_value(http_parser *parser, const char *bytes, size_t count) {
    struct chttp_head *head = (struct chttp_head *)parser->data;
    if (!head->is_value) {
        head->fields[head->count++] = 0;
        head->is_value = 1;
    }
    return chttp_put(head, bytes, count);
}

static inline int chttp_on_head(http_parser *parser) {
    struct chttp_head *head = (struct chttp_head *)parser->data;
    if (head->is_value) head->fields[head->count++] = 0;
    head->is_complete = 1;
    // No body: what follows is another protocol's.
    return 2;
}

static inline void chttp_begin(struct chttp_head *head) {
    memset(head, 0, sizeof *head);
    http_parser_init(&head->parser, HTTP_RESPONSE);
    head->parser.data = head;
}

/// Takes bytes of the head. Returns how many, or -1 if they are no response of HTTP or the head is too long.
static inline ptrdiff_t chttp_take(struct chttp_head *head, const void *bytes, size_t count) {
    http_parser_settings settings;
    http_parser_settings_init(&settings);
    settings.on_header_field = chttp_on_field;
    settings.on_header_value = chttp_on_value;
    settings.on_headers_complete = chttp_on_head;
    size_t taken = http_parser_execute(&head->parser, &settings, (const char *)bytes, count);
    if (head->is_complete) return (ptrdiff_t)taken;
    return HTTP_PARSER_ERRNO(&head->parser) == HPE_OK ? (ptrdiff_t)taken : -1;
}

static inline int chttp_status(const struct chttp_head *head) { return head->parser.status_code; }

/// The value of a field, whose name is given in lower case; null if it is not there.
static inline const char *chttp_value(const struct chttp_head *head, const char *name) {
    for (size_t at = 0; at < head->count;) {
        const char *field = head->fields + at, *value = field + strlen(field) + 1;
        const char *a = field, *b = name;
        while (*a && *b && (*a | 0x20) == *b) a++, b++;
        if (!*a && !*b) return value;
        at = (size_t)(value - head->fields) + strlen(value) + 1;
    }
    return NULL;
}
