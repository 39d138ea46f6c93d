/* Frames that only C makes: sizes known at run time, realigned stacks, callbacks. Each calls back once. */

#include <alloca.h>
#include <stddef.h>

typedef void callback(void *);

static void touch(void *memory) { __asm__ volatile("" : : "r"(memory) : "memory"); }

__attribute__((noinline)) int frame_alloca(size_t bytes, callback *call, void *argument) {
    char *memory = alloca(bytes + 1);
    touch(memory);
    call(argument);
    return memory[bytes / 2] == 1;
}

__attribute__((noinline)) int frame_variable(size_t count, callback *call, void *argument) {
    long numbers[count + 1];
    numbers[count] = 3;
    touch(numbers);
    call(argument);
    return (int)numbers[count];
}

__attribute__((noinline)) int frame_aligned(size_t count, callback *call, void *argument) {
    __attribute__((aligned(64))) char memory[128];
    touch(memory);
    call(argument);
    touch(memory);
    return memory[count % sizeof memory] == 1;
}

__attribute__((noinline)) int frame_aligned_alloca(size_t bytes, callback *call, void *argument) {
    __attribute__((aligned(32))) char memory[64];
    char *more = alloca(bytes + 1);
    touch(memory);
    touch(more);
    call(argument);
    touch(more);
    return memory[bytes % sizeof memory] == more[0];
}

__attribute__((noinline)) int frame_plain(size_t depth, callback *call, void *argument) {
    if (depth % 8 == 0) {
        call(argument);
        return 1;
    }
    return frame_plain(depth - 1, call, argument) + 1;
}

/* A tail call: the frame of this function is gone when the callback runs. */
__attribute__((noinline)) int frame_tail(size_t bytes, callback *call, void *argument) {
    return frame_alloca(bytes, call, argument);
}
