/* Reads Tarsier's frames from a serial line: C99, this file alone, no allocation, no library but <stddef.h>, <stdint.h>, <string.h>.
 *
 *     static tarsier_decoder decoder;                 // some 4.3 KB; all zeros to begin with
 *     void on_byte(uint8_t byte) {
 *         tarsier_frame frame;
 *         if (!tarsier_push(&decoder, byte, &frame)) return;
 *         tarsier_report report;
 *         if (frame.kind == TARSIER_REPORT && tarsier_read_report(&frame, &report))
 *             for (uint16_t i = 0; i < report.count; i++) {
 *                 tarsier_detection d = tarsier_detection_at(&report, i);
 *                 steer(d.prompt, d.x, d.y, d.score);
 *             }
 *     }
 *
 * A frame lies in the decoder and is good until the next byte is pushed. The wire is specified in src/wire/WIRE.md.
 * No alignment, byte order or float format is assumed. */
#ifndef TARSIER_FRAME_H
#define TARSIER_FRAME_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TARSIER_WIRE_VERSION 1u

/* The longest payload that is read, in bytes. 4,250 is a report of 300 detections; the longest, of 4,096, has 57,394. Define more where you have
 * the memory and ask for hundreds of names, or less on a smaller machine: what is longer is passed over and counted as damaged, as are
 * events and replies in JSON that are longer. */
#ifndef TARSIER_MAX_PAYLOAD
#define TARSIER_MAX_PAYLOAD 4250u
#endif

#define TARSIER_MAX_FRAME (6u + TARSIER_MAX_PAYLOAD + 4u)

enum {
    TARSIER_REPORT = 1,
    TARSIER_HEARTBEAT = 2,
    TARSIER_REPLY = 3,
    TARSIER_EVENT = 4,
    TARSIER_JSON_REPORT = 5,
    TARSIER_SIGHTS = 6,
    TARSIER_PRESENCE = 7,
    TARSIER_HAPPENING = 8,
    TARSIER_SMOOTHED = 9,
    TARSIER_COMMAND = 16
};

/* A frame that arrived whole. */
typedef struct {
    uint8_t kind;
    uint32_t sequence; /* a gap is a frame that the line damaged */
    const uint8_t *payload;
    size_t length;
} tarsier_frame;

/* COBS is undone byte by byte, so one buffer of decoded bytes is all there is. */
typedef struct {
    uint8_t plain[TARSIER_MAX_FRAME];
    size_t length;
    uint8_t left;    /* bytes to copy until the next group begins */
    uint8_t zero;    /* whether a zero byte stands between this group and the next */
    uint8_t begun;   /* whether anything came since the last zero byte */
    uint8_t bad;     /* whether what came is no frame, or too long */
    uint32_t damaged; /* counts what was no whole frame of this wire version, or too long */
} tarsier_decoder;

static inline uint16_t tarsier_u16(const uint8_t *p) { return (uint16_t)(p[0] | (uint16_t)(p[1] << 8)); }

static inline uint32_t tarsier_u32(const uint8_t *p) { return tarsier_u16(p) | ((uint32_t)tarsier_u16(p + 2) << 16); }

static inline uint64_t tarsier_u64(const uint8_t *p) { return tarsier_u32(p) | ((uint64_t)tarsier_u32(p + 4) << 32); }

/* CRC-32 as in Ethernet and zip, four bits at a time. */
static inline uint32_t tarsier_crc32(const uint8_t *bytes, size_t n) {
    static const uint32_t table[16] = {0x00000000u, 0x1db71064u, 0x3b6e20c8u, 0x26d930acu, 0x76dc4190u, 0x6b6b51f4u,
                                       0x4db26158u, 0x5005713cu, 0xedb88320u, 0xf00f9344u, 0xd6d6a3e8u, 0xcb61b38cu,
                                       0x9b64c2b0u, 0x86d3d2d4u, 0xa00ae278u, 0xbdbdf21cu};
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        crc ^= bytes[i];
        crc = table[crc & 15u] ^ (crc >> 4);
        crc = table[crc & 15u] ^ (crc >> 4);
    }
    return ~crc;
}

static inline void tarsier_append(tarsier_decoder *d, uint8_t byte) {
    if (d->length < TARSIER_MAX_FRAME)
        d->plain[d->length++] = byte;
    else
        d->bad = 1;
}

/* Takes one byte of the line. Returns 1 and fills `frame` if a whole frame ended with it, else 0. */
static inline int tarsier_push(tarsier_decoder *d, uint8_t byte, tarsier_frame *frame) {
    if (byte != 0) {
        if (d->left > 0) {
            tarsier_append(d, byte);
            d->left--;
        } else { /* a group begins */
            if (d->begun && d->zero) tarsier_append(d, 0);
            d->left = (uint8_t)(byte - 1);
            d->zero = byte != 255;
        }
        d->begun = 1;
        return 0;
    }
    const size_t n = d->length;
    const int begun = d->begun;
    const int cut = d->left > 0 || d->bad || n < 10;
    d->length = 0;
    d->left = d->zero = d->begun = d->bad = 0;
    if (!begun) return 0;
    if (cut || tarsier_u32(d->plain + n - 4) != tarsier_crc32(d->plain, n - 4) || d->plain[0] != TARSIER_WIRE_VERSION) {
        d->damaged++;
        return 0;
    }
    frame->kind = d->plain[1];
    frame->sequence = tarsier_u32(d->plain + 2);
    frame->payload = d->plain + 6;
    frame->length = n - 10;
    return 1;
}

typedef struct {
    uint32_t run; /* which run of the program; with `sequence` it never repeats */
    uint64_t sequence;
    uint32_t prompts_version;
    uint64_t captured_ns; /* the board's monotonic clock */
    uint32_t latency_us;
    uint32_t late, damaged, failed; /* frames lost since the start */
    uint16_t width, height;         /* of the frame, pixels */
    uint8_t bits;
    uint16_t crowded; /* detections that found no room */
    uint16_t count;
    const uint8_t *detections;
} tarsier_report;

typedef struct {
    uint16_t prompt; /* index into the prompt set */
    uint16_t track;  /* stays with a thing from report to report; 0: none yet, or not tracked */
    float score;     /* 0 to 1, of this frame alone */
    float x, y;      /* centre, pixels */
    float width, height;
} tarsier_detection;

/* Returns 1 and fills `report` if the frame carries one, else 0. Its detections lie in the frame. */
static inline int tarsier_read_report(const tarsier_frame *frame, tarsier_report *report) {
    const uint8_t *p = frame->payload;
    if (frame->kind != TARSIER_REPORT || frame->length < 50) return 0;
    report->run = tarsier_u32(p);
    report->sequence = tarsier_u64(p + 4);
    report->prompts_version = tarsier_u32(p + 12);
    report->captured_ns = tarsier_u64(p + 16);
    report->latency_us = tarsier_u32(p + 24);
    report->late = tarsier_u32(p + 28);
    report->damaged = tarsier_u32(p + 32);
    report->failed = tarsier_u32(p + 36);
    report->width = tarsier_u16(p + 40);
    report->height = tarsier_u16(p + 42);
    report->bits = p[44] & 15u;
    report->crowded = tarsier_u16(p + 46);
    report->count = tarsier_u16(p + 48);
    report->detections = p + 50;
    return frame->length == 50u + 14u * (size_t)report->count;
}

/* The detection with a number below `report->count`; the best is number 0. */
static inline tarsier_detection tarsier_detection_at(const tarsier_report *report, uint16_t i) {
    const uint8_t *p = report->detections + 14u * (size_t)i;
    const float unit = 1.0f / (float)(1u << report->bits);
    tarsier_detection d;
    d.prompt = tarsier_u16(p);
    d.track = tarsier_u16(p + 2);
    d.score = (float)tarsier_u16(p + 4) / 65535.0f;
    d.x = (float)tarsier_u16(p + 6) * unit;
    d.y = (float)tarsier_u16(p + 8) * unit;
    d.width = (float)tarsier_u16(p + 10) * unit;
    d.height = (float)tarsier_u16(p + 12) * unit;
    return d;
}

typedef struct {
    uint32_t run;
    uint64_t sequence; /* of the report before it, whose detections these belong to, in their order */
    uint16_t count;
    const uint8_t *sights;
} tarsier_sights;

typedef struct {
    float bearing_deg;   /* to the right */
    float elevation_deg; /* up */
    float range_m;       /* along the ground; below 0: cannot be told */
    float range_sd_m;
} tarsier_sight;

/* Returns 1 and fills `sights` if the frame says where detections lie as seen from the camera, else 0. */
static inline int tarsier_read_sights(const tarsier_frame *frame, tarsier_sights *sights) {
    const uint8_t *p = frame->payload;
    if (frame->kind != TARSIER_SIGHTS || frame->length < 14) return 0;
    sights->run = tarsier_u32(p);
    sights->sequence = tarsier_u64(p + 4);
    sights->count = tarsier_u16(p + 12);
    sights->sights = p + 14;
    return frame->length == 14u + 8u * (size_t)sights->count;
}

static inline float tarsier_hundredths(const uint8_t *p) {
    const uint16_t n = tarsier_u16(p);
    return (n < 32768u ? (float)n : (float)n - 65536.0f) / 100.0f;
}

/* The direction of the detection with that number. */
static inline tarsier_sight tarsier_sight_at(const tarsier_sights *sights, uint16_t i) {
    const uint8_t *p = sights->sights + 8u * (size_t)i;
    const uint16_t range = tarsier_u16(p + 4);
    tarsier_sight s;
    s.bearing_deg = tarsier_hundredths(p);
    s.elevation_deg = tarsier_hundredths(p + 2);
    s.range_m = range == 65535u ? -1.0f : (float)range / 100.0f;
    s.range_sd_m = range == 65535u ? -1.0f : (float)tarsier_u16(p + 6) / 100.0f;
    return s;
}

enum { TARSIER_THERE = 1, TARSIER_UNSURE = 2, TARSIER_NOT_THERE = 3 };
enum { TARSIER_APPEARED = 1, TARSIER_GONE = 2 };

typedef struct {
    uint32_t run;
    uint64_t sequence;                /* of the report before it */
    uint32_t there, unsure, not_there; /* how many names are so; those that matter most follow */
    uint16_t count;
    const uint8_t *names;
} tarsier_presence;

typedef struct {
    uint16_t prompt; /* index into the prompt set: of prompts that share a name, the first */
    uint8_t state;   /* TARSIER_THERE, _UNSURE, _NOT_THERE */
    uint8_t change;  /* in this frame: 0 none, TARSIER_APPEARED, TARSIER_GONE */
    float score;     /* how likely it is there, 0 to 1 */
} tarsier_name_presence;

/* Returns 1 and fills `presence` if the frame says which names are in the picture at all, else 0. */
static inline int tarsier_read_presence(const tarsier_frame *frame, tarsier_presence *presence) {
    const uint8_t *p = frame->payload;
    if (frame->kind != TARSIER_PRESENCE || frame->length < 26) return 0;
    presence->run = tarsier_u32(p);
    presence->sequence = tarsier_u64(p + 4);
    presence->there = tarsier_u32(p + 12);
    presence->unsure = tarsier_u32(p + 16);
    presence->not_there = tarsier_u32(p + 20);
    presence->count = tarsier_u16(p + 24);
    presence->names = p + 26;
    return frame->length == 26u + 6u * (size_t)presence->count;
}

/* The name with a number below `presence->count`. */
static inline tarsier_name_presence tarsier_presence_at(const tarsier_presence *presence, uint16_t i) {
    const uint8_t *p = presence->names + 6u * (size_t)i;
    tarsier_name_presence n;
    n.prompt = tarsier_u16(p);
    n.state = p[2];
    n.change = p[3];
    n.score = (float)tarsier_u16(p + 4) / 65535.0f;
    return n;
}

/* Something that happened in the scene; each comes once. */
typedef struct {
    uint32_t run;
    uint64_t sequence;    /* of the report that it came right behind */
    uint64_t captured_ns; /* the board's monotonic clock */
    uint32_t prompts_version;
    uint8_t kind;    /* TARSIER_APPEARED, TARSIER_GONE; pass over others */
    uint8_t source;  /* what saw it: 1 presence; pass over others */
    uint16_t prompt; /* index into the prompt set */
    float score;     /* how likely it is there, 0 to 1 */
    uint32_t track;  /* 0: none */
    uint16_t place;  /* zone or line; 0: none */
    const char *json; /* `length` bytes, no zero at the end */
    size_t length;
} tarsier_happening;

/* Returns 1 and fills `happening` if the frame carries one, else 0. */
static inline int tarsier_read_happening(const tarsier_frame *frame, tarsier_happening *happening) {
    const uint8_t *p = frame->payload;
    if (frame->kind != TARSIER_HAPPENING || frame->length < 36) return 0;
    happening->run = tarsier_u32(p);
    happening->sequence = tarsier_u64(p + 4);
    happening->captured_ns = tarsier_u64(p + 12);
    happening->prompts_version = tarsier_u32(p + 20);
    happening->kind = p[24];
    happening->source = p[25];
    happening->prompt = tarsier_u16(p + 26);
    happening->score = (float)tarsier_u16(p + 28) / 65535.0f;
    happening->track = tarsier_u32(p + 30);
    happening->place = tarsier_u16(p + 34);
    happening->json = (const char *)(p + 36);
    happening->length = frame->length - 36;
    return 1;
}

typedef struct {
    uint32_t run;
    uint64_t sequence;  /* of the report before it, whose detections these belong to, in their order */
    uint16_t count;
    uint16_t continued; /* the last so many were not found in this frame alone: their tracks continue them */
    const uint8_t *scores;
} tarsier_smoothed;

/* Returns 1 and fills `smoothed` if the frame has the smoothed scores of detections, else 0. */
static inline int tarsier_read_smoothed(const tarsier_frame *frame, tarsier_smoothed *smoothed) {
    const uint8_t *p = frame->payload;
    if (frame->kind != TARSIER_SMOOTHED || frame->length < 16) return 0;
    smoothed->run = tarsier_u32(p);
    smoothed->sequence = tarsier_u64(p + 4);
    smoothed->count = tarsier_u16(p + 12);
    smoothed->continued = tarsier_u16(p + 14);
    smoothed->scores = p + 16;
    return frame->length == 16u + 2u * (size_t)smoothed->count && smoothed->continued <= smoothed->count;
}

/* The smoothed score of the detection with that number, 0 to 1; 0: none. */
static inline float tarsier_smoothed_at(const tarsier_smoothed *smoothed, uint16_t i) {
    return (float)tarsier_u16(smoothed->scores + 2u * (size_t)i) / 65535.0f;
}

typedef struct {
    uint32_t run;
    uint8_t state; /* 0 not told yet, 1 starting, 2 running, 3 paused, 4 degraded, 5 stopping */
    uint32_t sent, lost;
} tarsier_heartbeat;

/* Returns 1 and fills `heartbeat` if the frame carries one, else 0. */
static inline int tarsier_read_heartbeat(const tarsier_frame *frame, tarsier_heartbeat *heartbeat) {
    if (frame->kind != TARSIER_HEARTBEAT || frame->length < 13) return 0;
    heartbeat->run = tarsier_u32(frame->payload);
    heartbeat->state = frame->payload[4];
    heartbeat->sent = tarsier_u32(frame->payload + 5);
    heartbeat->lost = tarsier_u32(frame->payload + 9);
    return 1;
}

typedef struct {
    uint32_t value; /* reply: the command's id; event: see WIRE.md */
    uint8_t code;   /* reply: 0 or an error; event: which */
    const char *json; /* `length` bytes, no zero at the end */
    size_t length;
} tarsier_message;

/* Returns 1 and fills `message` if the frame carries a reply or an event, else 0. */
static inline int tarsier_read_message(const tarsier_frame *frame, tarsier_message *message) {
    const uint8_t *p = frame->payload;
    if ((frame->kind != TARSIER_REPLY && frame->kind != TARSIER_EVENT) || frame->length < 5) return 0;
    message->value = tarsier_u32(frame->kind == TARSIER_REPLY ? p : p + 1);
    message->code = frame->kind == TARSIER_REPLY ? p[4] : p[0];
    message->json = (const char *)(p + 5);
    message->length = frame->length - 5;
    return 1;
}

/* Writes a command (JSON) as a frame into `out`, which has room for `capacity` bytes. Its length, or 0 if it does not fit: n + 14 bytes
 * and one for every 254 of them always do. */
static inline size_t tarsier_write_command(uint32_t sequence, const char *json, uint8_t *out, size_t capacity) {
    const size_t n = strlen(json), plain = 6 + n + 4;
    if (capacity < plain + plain / 254 + 4) return 0;
    /* the plain bytes first, at the end of the room, then COBS towards them from the front */
    uint8_t *p = out + capacity - plain;
    p[0] = TARSIER_WIRE_VERSION;
    p[1] = TARSIER_COMMAND;
    for (int i = 0; i < 4; i++) p[2 + i] = (uint8_t)(sequence >> (8 * i));
    memmove(p + 6, json, n);
    const uint32_t crc = tarsier_crc32(p, plain - 4);
    for (int i = 0; i < 4; i++) p[6 + n + (size_t)i] = (uint8_t)(crc >> (8 * i));
    size_t at = 2, group = 1;
    out[0] = 0;
    for (size_t i = 0; i < plain; i++) {
        const uint8_t byte = p[i];
        if (byte != 0) out[at++] = byte;
        if (byte == 0 || at - group == 255) {
            out[group] = (uint8_t)(at - group);
            group = at++;
        }
    }
    out[group] = (uint8_t)(at - group);
    out[at++] = 0;
    return at;
}

#endif
