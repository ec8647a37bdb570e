/* Prints what comes over a serial line: cc -std=c99 -o read_reports read_reports.c && ./read_reports < /dev/ttyUSB0
 * (set the line first: stty -F /dev/ttyUSB0 921600 raw -echo). On a microcontroller, call tarsier_push from the UART's interrupt. */
#include <inttypes.h>
#include <stdio.h>

#include "tarsier_frame.h"

int main(int argc, char **argv) {
    static tarsier_decoder decoder;
    if (argc == 3) { /* a command's id of frame and its JSON: prints the frame, for sending */
        static uint8_t out[4096];
        unsigned sequence = 0;
        sscanf(argv[1], "%u", &sequence);
        const size_t n = tarsier_write_command(sequence, argv[2], out, sizeof out);
        return fwrite(out, 1, n, stdout) == n && n > 0 ? 0 : 1;
    }
    int c;
    while ((c = getchar()) != EOF) {
        tarsier_frame frame;
        tarsier_report report;
        tarsier_sights sights;
        tarsier_presence presence;
        tarsier_happening happening;
        tarsier_smoothed smoothed;
        tarsier_heartbeat heartbeat;
        tarsier_message message;
        if (!tarsier_push(&decoder, (uint8_t)c, &frame)) continue;
        if (tarsier_read_report(&frame, &report)) {
            printf("report %" PRIu64 " of run %" PRIu32 ": %u in %ux%u, captured %" PRIu64 " ns, latency %" PRIu32 " us\n",
                   report.sequence, report.run, report.count, report.width, report.height, report.captured_ns, report.latency_us);
            for (uint16_t i = 0; i < report.count; i++) {
                const tarsier_detection d = tarsier_detection_at(&report, i);
                printf("  prompt %u %.3f at %.2f,%.2f %.2fx%.2f", d.prompt, (double)d.score, (double)d.x, (double)d.y,
                       (double)d.width, (double)d.height);
                if (d.track) printf(" track %u", d.track);
                printf("\n");
            }
        } else if (tarsier_read_sights(&frame, &sights)) {
            printf("sights of report %" PRIu64 " of run %" PRIu32 ": %u\n", sights.sequence, sights.run, sights.count);
            for (uint16_t i = 0; i < sights.count; i++) {
                const tarsier_sight s = tarsier_sight_at(&sights, i);
                printf("  bearing %.2f elevation %.2f", (double)s.bearing_deg, (double)s.elevation_deg);
                if (s.range_m >= 0) printf(" range %.2f m, sd %.2f", (double)s.range_m, (double)s.range_sd_m);
                printf("\n");
            }
        } else if (tarsier_read_presence(&frame, &presence)) {
            printf("presence of report %" PRIu64 " of run %" PRIu32 ": %" PRIu32 " there, %" PRIu32 " unsure, %" PRIu32 " not there\n",
                   presence.sequence, presence.run, presence.there, presence.unsure, presence.not_there);
            for (uint16_t i = 0; i < presence.count; i++) {
                static const char *const words[] = {"?", "there", "unsure", "not there"};
                const tarsier_name_presence n = tarsier_presence_at(&presence, i);
                printf("  prompt %u %s %.3f\n", n.prompt, words[n.state & 3u], (double)n.score);
            }
        } else if (tarsier_read_happening(&frame, &happening)) {
            const char *what = happening.kind == TARSIER_APPEARED ? "appeared" : happening.kind == TARSIER_GONE ? "gone" : "?";
            printf("prompt %u %s %.3f in report %" PRIu64 ", captured %" PRIu64 " ns: %.*s\n", happening.prompt, what,
                   (double)happening.score, happening.sequence, happening.captured_ns, (int)happening.length, happening.json);
        } else if (tarsier_read_smoothed(&frame, &smoothed)) {
            printf("smoothed scores of report %" PRIu64 " of run %" PRIu32 ": %u\n", smoothed.sequence, smoothed.run, smoothed.count);
            for (uint16_t i = 0; i < smoothed.count; i++) {
                printf("  %.3f%s\n", (double)tarsier_smoothed_at(&smoothed, i),
                       i >= smoothed.count - smoothed.continued ? " continued" : "");
            }
        } else if (tarsier_read_heartbeat(&frame, &heartbeat)) {
            printf("heartbeat: state %u, sent %" PRIu32 ", lost %" PRIu32 "\n", heartbeat.state, heartbeat.sent, heartbeat.lost);
        } else if (tarsier_read_message(&frame, &message)) {
            printf("%s %u %" PRIu32 ": %.*s\n", frame.kind == TARSIER_REPLY ? "reply" : "event", message.code, message.value,
                   (int)message.length, message.json);
        }
        fflush(stdout);
    }
    fprintf(stderr, "damaged %" PRIu32 "\n", decoder.damaged);
    return 0;
}
