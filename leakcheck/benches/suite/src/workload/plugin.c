/* A library that calls back to allocate, from five frames down. */

typedef void (*callback)(void *context);

static void touch(volatile char *frame) { __asm__ volatile("" : : "r"(frame) : "memory"); }

static __attribute__((noinline)) void down(int frames, callback call, void *context) {
    volatile char frame[FRAME_BYTES];
    touch(frame);
    if (frames == 0)
        call(context);
    else
        down(frames - 1, call, context);
    touch(frame);
}

void plugin_run(unsigned long times, callback call, void *context) {
    for (unsigned long i = 0; i < times; i++)
        down(4, call, context);
}
