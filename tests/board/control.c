/* Sets a control of a V4L2 device by its name: control DEVICE NAME VALUE. What of v4l2-ctl the emulated board needs. */
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

int main(int argc, char **argv)
{
    int device = argc == 4 ? open(argv[1], O_RDWR) : -1;
    if (device < 0) {
        perror("control DEVICE NAME VALUE");
        return 1;
    }
    struct v4l2_queryctrl query = {.id = V4L2_CTRL_FLAG_NEXT_CTRL};
    while (ioctl(device, VIDIOC_QUERYCTRL, &query) == 0) {
        if (strcmp((const char *)query.name, argv[2]) == 0) {
            struct v4l2_control control = {.id = query.id, .value = atoi(argv[3])};
            if (ioctl(device, VIDIOC_S_CTRL, &control) == 0)
                return 0;
            perror(argv[2]);
            return 1;
        }
        query.id |= V4L2_CTRL_FLAG_NEXT_CTRL;
    }
    fprintf(stderr, "no control \"%s\"\n", argv[2]);
    return 1;
}
