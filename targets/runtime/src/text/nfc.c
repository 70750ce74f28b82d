/* nfc.c - decompose, sort, compose, one starter with what follows it at a time. */
#include "nfc.h"

/* Hangul syllables, as UAX 15 computes them. */
enum { S_BASE = 0xAC00, L_BASE = 0x1100, V_BASE = 0x1161, T_BASE = 0x11A7 };
enum { L_COUNT = 19, V_COUNT = 21, T_COUNT = 28, S_COUNT = L_COUNT * V_COUNT * T_COUNT };

/* One step of Unicode's decompositions after the other, at most 4 deep, gives at most 4. */
enum { MOST_WAITING = 8, MOST_STEPS = 16 };
enum { FEW_MARKS = 16, CLASSES = 256, POINT_BITS = 24, POINT_MASK = 0xFFFFFF };

typedef struct composer {
    const bitx_tables *tables;
    uint8_t *to;
    size_t used, room;
    uint32_t starter; /* BITX_NONE: none yet */
    uint32_t *marks;  /* behind it: class in the upper byte, code point below */
    size_t count, most;
    int damaged;
} composer;

static void put(composer *c, uint32_t point)
{
    if (c->room - c->used < 4) {
        uint8_t bytes[4];
        const uint32_t length = bitx_utf8_write(bytes, point);
        c->damaged |= length > c->room - c->used;
        if (c->damaged) return;
        bitx_copy(c->to + c->used, bytes, length);
        c->used += length;
        return;
    }
    c->used += bitx_utf8_write(c->to + c->used, point);
}

/* ---- Looking up ---------------------------------------------------------------------------- */

static const bitx_decomposition_entry *find_decomposition(const bitx_tables *tables, uint32_t point)
{
    const bitx_decomposition_entry *const entries = tables->decompositions;
    uint32_t low = 0, high = tables->head.decompositions;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (entries[middle].point < point)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == tables->head.decompositions || entries[low].point != point) return NULL;
    return &entries[low];
}

static uint32_t combining_class(const bitx_tables *tables, uint32_t point)
{
    const bitx_combining_entry *const entries = tables->combining;
    uint32_t low = 0, high = tables->head.combining;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (entries[middle].last < point)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == tables->head.combining || entries[low].first > point) return 0;
    return entries[low].combining & 0xFF;
}

/* The primary composite, or BITX_NONE. */
static uint32_t composite(const bitx_tables *tables, uint32_t first, uint32_t second)
{
    const bitx_composition_entry *const entries = tables->compositions;
    uint32_t low = 0, high = tables->head.compositions;

    if (first - L_BASE < L_COUNT && second - V_BASE < V_COUNT)
        return S_BASE + ((first - L_BASE) * V_COUNT + (second - V_BASE)) * T_COUNT;
    if (first - S_BASE < S_COUNT && (first - S_BASE) % T_COUNT == 0 &&
        second - (T_BASE + 1) < T_COUNT - 1)
        return first + (second - T_BASE);
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const bitx_composition_entry *const entry = &entries[middle];
        if (entry->first < first || (entry->first == first && entry->second < second))
            low = middle + 1;
        else
            high = middle;
    }
    if (low == tables->head.compositions || entries[low].first != first ||
        entries[low].second != second)
        return BITX_NONE;
    return entries[low].composite;
}

/* ---- Sorting ------------------------------------------------------------------------------- */

/* Both sorts are stable; the second takes the same time for any order. */
static void sort_few(uint32_t *marks, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        const uint32_t mark = marks[i];
        size_t at = i;
        for (; at > 0 && marks[at - 1] >> POINT_BITS > mark >> POINT_BITS; at--)
            marks[at] = marks[at - 1];
        marks[at] = mark;
    }
}

static void sort_many(uint32_t *marks, uint32_t *scratch, size_t count)
{
    uint32_t next[CLASSES] = {0};
    uint32_t start = 0;

    for (size_t i = 0; i < count; i++)
        next[marks[i] >> POINT_BITS]++;
    for (size_t i = 0; i < CLASSES; i++) {
        const uint32_t of_class = next[i];
        next[i] = start;
        start += of_class;
    }
    for (size_t i = 0; i < count; i++)
        scratch[next[marks[i] >> POINT_BITS]++] = marks[i];
    bitx_copy(marks, scratch, count * sizeof *marks);
}

/* ---- Composing ----------------------------------------------------------------------------- */

/* Sorts the marks and joins with the starter those that nothing keeps from it. */
static void join_marks(composer *c)
{
    if (c->count == 0) return;
    if (c->count <= FEW_MARKS)
        sort_few(c->marks, c->count);
    else
        sort_many(c->marks, c->marks + c->most, c->count);
    if (c->starter == BITX_NONE) return;

    size_t kept = 0;
    uint32_t last_class = 0;
    for (size_t i = 0; i < c->count; i++) {
        const uint32_t mark = c->marks[i], class = mark >> POINT_BITS;
        const uint32_t joined =
            last_class < class ? composite(c->tables, c->starter, mark & POINT_MASK) : BITX_NONE;
        if (joined != BITX_NONE) {
            c->starter = joined;
        } else {
            c->marks[kept++] = mark;
            last_class = class;
        }
    }
    c->count = kept;
}

static void flush(composer *c)
{
    if (c->starter != BITX_NONE) put(c, c->starter);
    for (size_t i = 0; i < c->count; i++)
        put(c, c->marks[i] & POINT_MASK);
    c->starter = BITX_NONE;
    c->count = 0;
}

/* Takes a character that does not decompose. */
static void take(composer *c, uint32_t point)
{
    const uint32_t class = combining_class(c->tables, point);

    if (class != 0) {
        if (c->count == c->most)
            c->damaged = 1;
        else
            c->marks[c->count++] = class << POINT_BITS | (point & POINT_MASK);
        return;
    }
    join_marks(c);
    if (c->starter != BITX_NONE && c->count == 0) {
        const uint32_t joined = composite(c->tables, c->starter, point);
        if (joined != BITX_NONE) {
            c->starter = joined;
            return;
        }
    }
    flush(c);
    c->starter = point;
}

static void decompose(composer *c, uint32_t point)
{
    uint32_t waiting[MOST_WAITING] = {point};
    size_t count = 1, steps = 0;

    if (point - S_BASE < S_COUNT) {
        const uint32_t index = point - S_BASE, trailing = index % T_COUNT;
        take(c, L_BASE + index / (V_COUNT * T_COUNT));
        take(c, V_BASE + index / T_COUNT % V_COUNT);
        if (trailing) take(c, T_BASE + trailing);
        return;
    }
    while (count > 0) {
        const bitx_decomposition_entry *const found =
            find_decomposition(c->tables, waiting[--count]);
        if (!found) {
            take(c, waiting[count]);
            continue;
        }
        if (++steps > MOST_STEPS || count + 2 > MOST_WAITING) {
            c->damaged = 1;
            return;
        }
        if (found->second) waiting[count++] = found->second;
        waiting[count++] = found->first;
    }
}

size_t bitx_nfc(uint8_t *to, size_t room, const bitx_tables *tables, const uint8_t *text,
                size_t count, uint32_t *run, size_t run_most)
{
    const uint8_t *at = text, *const end = text + count;
    composer c = {.tables = tables,
                  .to = to,
                  .room = room,
                  .starter = BITX_NONE,
                  .marks = run,
                  .most = run_most / 2};

    while (at < end && !c.damaged) {
        if (*at < 0x80) {
            /* ASCII neither decomposes nor joins what stands before it. */
            join_marks(&c);
            flush(&c);
            while (end - at > 1 && at[1] < 0x80 && c.used < c.room)
                c.to[c.used++] = *at++;
            c.starter = *at++;
            continue;
        }
        uint32_t length;
        const uint32_t point = bitx_utf8_read(at, end, &length);
        at += length;
        decompose(&c, point);
    }
    join_marks(&c);
    flush(&c);
    return c.damaged ? SIZE_MAX : c.used;
}
